"""The stage of the relay's tests: what a plugin does to a real request."""

from tests.gateway.relay.conftest import pytest_asyncio_loop_factories as pytest_asyncio_loop_factories
from tests.gateway.relay.conftest import stage as stage

"""The fault origin, shared by the tests of whole gateways: a test tells its own requests by their X-Request-ID."""

from collections.abc import Iterator

import pytest

from tests.faults.origin import Origin


@pytest.fixture(scope="session")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin

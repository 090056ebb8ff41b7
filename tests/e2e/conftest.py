"""The gateways that tests share, one of each kind; a test tells its own requests by their X-Request-ID."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from tests.e2e import scene
from tests.faults.address import blackhole, refused
from tests.faults.origin import Origin
from tests.harness import Document, Gateway, eventually, running_gateway


@contextmanager
def _serving(document: Document, **options: Any) -> Iterator[Gateway]:
    """A gateway of which, in the end, no connection of a client and none that an upstream has closed is left."""
    with running_gateway(document, **options) as gateway:
        yield gateway
        eventually(lambda: not _left_over(gateway), what="no connection left")


def _left_over(gateway: Gateway) -> list[Any]:
    connections = [c for pid in gateway.workers() for c in psutil.Process(pid).net_connections("tcp")]
    port = gateway.address[1]
    return [c for c in connections if c.status == "CLOSE_WAIT" or (c.status != "LISTEN" and c.laddr.port == port)]


@pytest.fixture(scope="package")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="package")
def failing(origin: Origin) -> Iterator[Gateway]:
    with refused() as port, blackhole() as silent, _serving(scene.failing(origin, port, silent)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def hurried(origin: Origin) -> Iterator[Gateway]:
    with _serving(scene.hurried(origin)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def talking(origin: Origin) -> Iterator[Gateway]:
    with refused() as port, _serving(scene.talking(origin, port)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def speaking(origin: Origin) -> Iterator[Gateway]:
    with _serving(scene.speaking(origin)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def site(origin: Origin) -> Iterator[Gateway]:
    with _serving(scene.guarded(origin), environment={"SPACED_KEY": scene.KEYS["spaced"]}) as gateway:
        yield gateway

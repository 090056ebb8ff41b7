"""The gateways that tests share, one of each kind; a test tells its own requests by their X-Request-ID."""

from collections.abc import Iterator

import pytest

from tests.e2e import scene
from tests.faults.address import blackhole, refused
from tests.faults.origin import Origin
from tests.harness import Gateway, running_gateway


@pytest.fixture(scope="package")
def origin() -> Iterator[Origin]:
    with Origin() as origin:
        yield origin


@pytest.fixture(scope="package")
def failing(origin: Origin) -> Iterator[Gateway]:
    with refused() as port, blackhole() as silent, running_gateway(scene.failing(origin, port, silent)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def hurried(origin: Origin) -> Iterator[Gateway]:
    with running_gateway(scene.hurried(origin)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def talking(origin: Origin) -> Iterator[Gateway]:
    with refused() as port, running_gateway(scene.talking(origin, port)) as gateway:
        yield gateway


@pytest.fixture(scope="package")
def site(origin: Origin) -> Iterator[Gateway]:
    with running_gateway(scene.guarded(origin), environment={"SPACED_KEY": scene.KEYS["spaced"]}) as gateway:
        yield gateway

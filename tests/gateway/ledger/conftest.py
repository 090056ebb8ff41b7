"""Every test that asks for `new_site` runs with each authority."""

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.gateway.ledger.authority import EmbeddedSite, NewSite, Site
from tests.gateway.ledger.shared import SharedSite

SITES: dict[str, Callable[[Path], Site]] = {"embedded": EmbeddedSite, "redis": SharedSite}
"""Makes a site with an empty authority, in a directory of its own."""


@pytest.fixture(scope="session", params=SITES)
def new_site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> NewSite:
    """Makes a site with an empty authority, as often as a test wants one."""
    root, numbers = tmp_path_factory.mktemp("ledger"), itertools.count()

    def make() -> Site:
        directory = root / str(next(numbers))
        directory.mkdir()
        return SITES[request.param](directory)

    return make

"""The suite speaks to a `Site` alone, so another authority joins by one more parameter."""

import itertools

import pytest

from tests.gateway.ledger.authority import NewSite, Site


@pytest.fixture(scope="session", params=["embedded"])
def new_site(tmp_path_factory: pytest.TempPathFactory) -> NewSite:
    """Makes a site with an empty authority, as often as a test wants one."""
    root, numbers = tmp_path_factory.mktemp("ledger"), itertools.count()

    def make() -> Site:
        directory = root / str(next(numbers))
        directory.mkdir()
        return Site(directory)

    return make

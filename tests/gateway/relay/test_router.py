from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.relay.router import Router


class Place(NamedTuple):
    path: str
    methods: frozenset[str] = frozenset()
    name: str = ""


ROUTES = [
    Place("/v1/chat", frozenset({"POST"}), "chat"),
    Place("/v1/chat", frozenset({"GET"}), "chat-get"),
    Place("/v1/*", name="v1"),
    Place("/v1/audio/*", frozenset({"POST"}), "audio"),
    Place("/files/*", frozenset({"GET"}), "files"),
    Place("/files/*", frozenset({"GET", "PUT"}), "files-put"),
    Place("/files/", frozenset({"GET"}), "exact-slash"),
]


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", "/v1/chat", "chat"),
        ("GET", "/v1/chat", "chat-get"),
        ("PUT", "/v1/chat", "v1"),  # the exact path does not take it, the prefix does
        ("GET", "/v1", "v1"),
        ("GET", "/v1/", "v1"),
        ("GET", "/v1/chat/", "v1"),
        ("POST", "/v1/audio/speech", "audio"),  # the longer prefix wins
        ("POST", "/v1/audio", "audio"),
        ("GET", "/v1/audio/speech", "v1"),
        ("POST", "/v1/audiobook", "v1"),  # only on the boundary of a segment
        ("GET", "/files/a/b", "files"),  # the first of the configuration
        ("PUT", "/files/a/b", "files-put"),
        ("GET", "/files/", "exact-slash"),
        ("GET", "/files", "files"),
        ("GET", "/filesystem", None),
        ("GET", "/", None),
        ("GET", "/v", None),
        ("OPTIONS", "*", None),
    ],
)
def test_which_route(method: str, path: str, name: str | None) -> None:
    found, _ = Router(ROUTES).find(method, path)
    assert (found.name if found is not None else None) == name


def test_a_path_without_the_method_tells_the_methods_that_it_takes() -> None:
    assert Router(ROUTES).find("DELETE", "/files/a") == (None, frozenset({"GET", "PUT"}))
    assert Router(ROUTES).find("DELETE", "/elsewhere") == (None, frozenset())


def test_everything_below_the_root() -> None:
    router = Router([Place("/*", name="all")])
    for path in ("/", "/a", "/a/b"):
        found, _ = router.find("GET", path)
        assert found is not None and found.name == "all"


segments = st.lists(st.sampled_from(["a", "b", "ab"]), max_size=4)
places = st.builds(
    lambda parts, below, methods: Place("/" + "/".join(parts) + ("/*" if below and parts else ""), methods),
    segments, st.booleans(), st.frozensets(st.sampled_from(["GET", "POST"])),
)  # fmt: skip


@given(st.lists(places, max_size=8), segments, st.sampled_from(["GET", "POST", "PUT"]))
def test_it_finds_what_a_look_at_every_route_finds(routes: list[Place], parts: list[str], method: str) -> None:
    path = "/" + "/".join(parts)

    def rank(route: Place) -> int:
        """0: does not match; exact above all, then the longer prefix."""
        if route.path == path:
            return 10_000
        stem = route.path.removesuffix("/*")
        below = route.path.endswith("/*") and (path == stem or path.startswith(stem + "/"))
        return 1 + len(stem) if below else 0

    matching = sorted((route for route in routes if rank(route)), key=rank, reverse=True)
    taking = [route for route in matching if not route.methods or method in route.methods]
    found, allowed = Router(routes).find(method, path)
    if taking:
        assert found is taking[0]
    else:
        assert (found, allowed) == (None, frozenset().union(*(route.methods for route in matching)))

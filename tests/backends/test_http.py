"""The description of servers that somebody else runs."""

from typing import Any

import pytest

from gateway.backend import Blame, Endpoint, Hash, Health
from gateway.loader import load_backend
from gateway.settings.problem import ConfigError

ONE = {"endpoints": [{"url": "http://10.0.0.5:8000"}]}


def test_endpoints() -> None:
    raw = {"endpoints": [{"url": "http://10.0.0.5:8000", "weight": 2}, {"url": "unix:/run/server.sock"}]}
    backend = load_backend("fleet", "http", raw)
    assert backend.endpoints() == (Endpoint("http://10.0.0.5:8000", 2), Endpoint("unix:/run/server.sock"))
    assert backend.launch(1) is None
    assert (backend.slots, backend.balance, backend.health) == (0, "least_inflight", None)


def test_balance_by_what_is_alike() -> None:
    backend = load_backend("fleet", "http", ONE | {"balance": {"hash": "header:X-Tenant"}})
    assert backend.balance == Hash(hash="header:X-Tenant")
    for wrong in ("fastest", {"hash": "mood"}, {"hash": "header:"}, {"hash": "header:a b"}, {}, {"by": "session"}):
        with pytest.raises(ConfigError, match="balance"):
            load_backend("fleet", "http", ONE | {"balance": wrong})


def test_health_and_balance() -> None:
    backend = load_backend("fleet", "http", ONE | {"balance": "weighted", "health": {"path": "/up", "interval": "3s"}})
    assert backend.balance == "weighted"
    assert backend.health == Health(path="/up", interval=3.0)


def test_key_is_sent_to_the_server() -> None:
    assert load_backend("hosted", "http", ONE | {"key": "sk-1"}).request_headers() == {"Authorization": "Bearer sk-1"}
    assert load_backend("fleet", "http", ONE).request_headers() == {}


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("file:///etc/passwd", "must begin with"),
        ("gopher://10.0.0.5", "must begin with"),
        ("10.0.0.5:8000", "must begin with"),
        ("http://", "must name a host"),
        ("http://10.0.0.5:0", "must name a host"),
        ("http://10.0.0.5:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("unix:server.sock", "absolute path"),
        ("unix://host/server.sock", "absolute path"),
        ("https://user:secret@host", "must hold no credential"),
        ("https://host/v1?key=1", "no query"),
    ],
)
def test_addresses_that_are_refused(url: str, problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_backend("fleet", "http", {"endpoints": [{"url": url}]})


@pytest.mark.parametrize("raw", [{"endpoints": []}, {"endpoints": [{"url": "http://a"}, {"url": "http://a"}]}])
def test_lists_that_are_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="endpoints"):
        load_backend("fleet", "http", raw)


def test_blame() -> None:
    backend = load_backend("fleet", "http", ONE)
    assert [backend.blame(status, b"") for status in (500, 502, 503, 504)] == [Blame.UNCLEAR, *[Blame.ENDPOINT] * 3]

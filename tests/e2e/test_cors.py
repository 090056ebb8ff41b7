"""Browsers: which web origins may call, and read what came (WPT's cases, judged at the gateway)."""

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect
from websockets.typing import Origin

from tests.e2e.scene import GOOD, KEYS
from tests.e2e.wire import Answer, ask, bearer
from tests.harness import Gateway

TRICKS = (
    "https://good.example.evil.com", "https://evilgood.example", "https://good.example:8443", "http://good.example",
    "https://GOOD.example", "https://good.example.", "https://good.example/", "null", "https://evil.example", "*", "",
    "https://good.example https://evil.example",
)  # fmt: skip


def _get(site: Gateway, origin: str, path: str = "/echo/strict/x", key: str = KEYS["second"]) -> Answer:
    return ask(site, "GET", path, bearer(key, Origin=origin))


def _preflight(site: Gateway, origin: str, path: str = "/v1/chat/completions", **headers: str) -> Answer:
    asked = {"Origin": origin, "Access-Control-Request-Method": "POST", **headers}
    return ask(site, "OPTIONS", path, asked)


def _cors(answer: Answer) -> set[str]:
    return {name for name in answer.names() if name.startswith("access-control-")}


def test_an_allowed_origin(site: Gateway) -> None:
    answer = _get(site, GOOD)
    assert answer.status == 200
    assert answer.get("access-control-allow-origin") == GOOD
    assert answer.get("access-control-allow-credentials") == "true"
    assert answer.get("vary") == "Origin"
    exposed = answer.get("access-control-expose-headers") or ""
    assert {"X-Request-ID", "Retry-After"} <= set(exposed.split(", "))


@pytest.mark.parametrize("web", TRICKS)
def test_any_other_origin_gets_nothing(site: Gateway, web: str) -> None:
    answer = _get(site, web)
    assert (answer.status, _cors(answer), answer.get("vary")) == (200, set(), "Origin")
    answer = _preflight(site, web)
    assert (_cors(answer), answer.get("vary")) == (set(), "Origin")


def test_an_answer_varies_even_without_an_origin(site: Gateway) -> None:
    answer = ask(site, "GET", "/echo/strict/x", bearer(KEYS["second"]))
    assert (_cors(answer), answer.get("vary")) == (set(), "Origin")


def test_a_preflight_needs_no_key_and_tells_of_no_route(site: Gateway) -> None:
    asked = {"Access-Control-Request-Headers": "authorization,content-type,x-secret"}
    answer = _preflight(site, GOOD, **asked)
    assert (answer.status, answer.body) == (204, b"")
    assert answer.get("access-control-allow-origin") == GOOD
    assert answer.get("access-control-allow-methods") == "GET, POST"
    assert answer.get("access-control-allow-headers") == "authorization, content-type"
    assert 0 < int(answer.get("access-control-max-age") or 0) <= 86_400
    assert answer.get("access-control-allow-private-network") is None
    for path in ("/v1/models", "/nothing/like/it", "/read/echo"):
        other = _preflight(site, GOOD, path, **asked)
        ignored = ("date", "x-request-id")
        assert [h for h in other.headers if h[0] not in ignored] == [h for h in answer.headers if h[0] not in ignored]


def test_a_method_that_is_not_allowed_is_left_out(site: Gateway) -> None:
    answer = _preflight(site, GOOD, **{"Access-Control-Request-Method": "DELETE"})
    assert "DELETE" not in (answer.get("access-control-allow-methods") or "")


def test_a_private_network_is_not_opened(site: Gateway) -> None:
    answer = _preflight(site, GOOD, **{"Access-Control-Request-Private-Network": "true"})
    assert answer.get("access-control-allow-private-network") is None


@pytest.mark.parametrize(
    ("path", "key", "status"),
    [
        ("/echo/strict/x", "unknown-key", 401),
        ("/echo/strict/x", KEYS["paths"], 403),
        ("/nothing", KEYS["second"], 404),
        ("/fault/rst-head", KEYS["second"], 502),
    ],
)
def test_errors_can_be_read_by_a_browser(site: Gateway, path: str, key: str, status: int) -> None:
    answer = _get(site, GOOD, path, key)
    assert answer.status == status
    assert answer.get("access-control-allow-origin") == GOOD
    assert answer.get("vary") == "Origin"


def test_an_upstreams_own_word_is_dropped(site: Gateway) -> None:
    answer = _get(site, "https://evil.example", "/fault/hostile")
    assert (answer.status, _cors(answer)) == (200, set())


def test_a_web_socket_from_elsewhere_is_refused(site: Gateway) -> None:
    url, key = site.url.replace("http", "ws") + "/v1/echo/ws", {"Authorization": f"Bearer {KEYS['second']}"}
    with connect(url, origin=Origin(GOOD), additional_headers=key) as socket:
        socket.send("hello")
        assert socket.recv() == "hello"
    for web in TRICKS[:8]:
        with pytest.raises(InvalidStatus) as refused, connect(url, origin=Origin(web), additional_headers=key):
            pass
        assert refused.value.response.status_code == 403

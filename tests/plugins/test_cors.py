"""The twelve cases of the browser's protocol (WHATWG Fetch, 3.2), judged at the gateway."""

from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Reply
from gateway.http.head import read_head
from plugins.cors import Plugin, Settings
from tests.gateway.relay.stage import KEY, Answered, Stage, ok

GOOD = "https://good.example"


def run(settings: Settings, method: str = "GET", **headers: str) -> tuple[Reply | None, dict[str, str]]:
    """What `access` decides and the headers that it adds."""
    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    head = read_head(method.encode(), b"/x", "1.1", [(b"host", b"a"), *fields])
    exchange = Exchange("id", head, method, "/x", 0.0)
    reply = Plugin(settings).access(exchange)
    lines = [line.rstrip("\r\n").partition(": ") for line in exchange.lines]
    assert len({name for name, _, _ in lines}) == len(lines), "no header stands twice"
    return reply, {name.lower(): value for name, _, value in lines}


def preflight(settings: Settings, origin: str = GOOD, method: str = "POST", **headers: str) -> dict[str, str]:
    reply, lines = run(settings, "OPTIONS", origin=origin, access_control_request_method=method, **headers)
    assert reply is not None and (reply.status, reply.body) == (204, b"")
    return lines


LISTED = Settings(origins=(GOOD,))
ANY = Settings(origins=("*",))


def test_1_a_simple_request_is_allowed() -> None:
    reply, lines = run(LISTED, origin=GOOD)
    assert reply is None
    assert lines["access-control-allow-origin"] == GOOD
    assert "X-Request-ID" in lines["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in lines


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_2_a_simple_request_is_denied_by_silence(method: str) -> None:
    headers = {"access_control_request_method": "GET"} if method == "OPTIONS" else {}
    _, lines = run(LISTED, method, origin="https://other.example", **headers)
    assert lines == {"vary": "Origin"}


def test_3_a_preflight_is_allowed() -> None:
    lines = preflight(LISTED)
    assert lines["access-control-allow-origin"] == GOOD
    assert lines["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    assert "access-control-expose-headers" not in lines


def test_options_alone_is_no_preflight() -> None:
    reply, lines = run(LISTED, "OPTIONS", origin=GOOD)
    assert reply is None and lines["access-control-allow-origin"] == GOOD
    assert run(LISTED, "OPTIONS", access_control_request_method="POST")[0] is None, "without an origin neither"


def test_4_a_method_that_is_not_allowed_is_not_granted() -> None:
    lines = preflight(Settings(origins=(GOOD,), methods=("GET",)), method="DELETE")
    assert lines["access-control-allow-methods"] == "GET"


@pytest.mark.parametrize(
    ("allowed", "asked", "granted"),
    [
        (("x-a",), "x-b", None),  # case 5: a header that is not allowed
        (("x-a",), "x-a, x-b", "x-a"),
        (("X-A", "X-B"), "x-a,x-b", "x-a, x-b"),  # case 6: browsers ask in lower case, sorted
        (("*",), "authorization,content-type", "authorization, content-type"),
        (("*",), "x\u00e9, a b, c;d, " + "y" * 129, None),  # nothing is echoed that is no name
        ((), "x-a", None),
        (("*",), "", None),
    ],
)
def test_5_and_6_headers_are_granted_by_name(allowed: tuple[str, ...], asked: str, granted: str | None) -> None:
    lines = preflight(Settings(origins=(GOOD,), headers=allowed), access_control_request_headers=asked)
    assert lines.get("access-control-allow-headers") == granted


def test_7_a_wildcard_never_goes_with_credentials() -> None:
    with pytest.raises(ValueError, match="credentials"):
        Settings(origins=("*",), credentials=True)
    with pytest.raises(ValueError, match="credentials"):
        Settings(origins=(GOOD, "*"), credentials=True)
    _, lines = run(ANY, origin=GOOD)
    assert lines["access-control-allow-origin"] == "*"
    _, lines = run(Settings(origins=(GOOD,), credentials=True), origin=GOOD)
    assert (lines["access-control-allow-origin"], lines["access-control-allow-credentials"]) == (GOOD, "true")


def test_8_null_is_an_origin_like_any_other() -> None:
    assert "access-control-allow-origin" not in run(LISTED, origin="null")[1]
    assert run(Settings(origins=("null",)), origin="null")[1]["access-control-allow-origin"] == "null"


@pytest.mark.parametrize(
    "origin",
    ["https://good.example.evil.com", "https://evilgood.example", "https://good.example:8443", "http://good.example",
     "HTTPS://GOOD.EXAMPLE", "https://good.example.", "https://good.example/", "https://a.good.example",
     "https://good.example, https://evil.com", "https://good.example@evil.com", ""],
)  # fmt: skip
def test_9_an_origin_is_compared_whole(origin: str) -> None:
    _, lines = run(LISTED, origin=origin)
    assert lines == {"vary": "Origin"}


@pytest.mark.parametrize("settings", [LISTED, ANY])
@pytest.mark.parametrize("origin", [GOOD, "https://other.example", None])
def test_10_vary_stands_wherever_the_answer_depends_on_the_origin(settings: Settings, origin: str | None) -> None:
    headers = {"origin": origin} if origin is not None else {}
    assert run(settings, **headers)[1]["vary"] == "Origin"
    if origin is not None:
        assert preflight(settings, origin)["vary"] == "Origin"


@pytest.mark.parametrize(
    ("configured", "asked", "granted"), [(True, "true", True), (True, "", False), (False, "true", False)]
)
def test_11_private_networks_only_when_configured(configured: bool, asked: str, granted: bool) -> None:
    headers = {"access_control_request_private_network": asked} if asked else {}
    lines = preflight(Settings(origins=(GOOD,), private_network=configured), **headers)
    assert ("access-control-allow-private-network" in lines) == granted


def test_12_max_age_is_bounded() -> None:
    assert preflight(Settings(origins=(GOOD,), max_age=60))["access-control-max-age"] == "60"
    for age in (-1, 86_401):
        with pytest.raises(ValueError, match="max_age"):
            Settings(origins=(GOOD,), max_age=age)


@pytest.mark.parametrize(("origin", "refused"), [(GOOD, False), ("https://evil.example", True), (None, False)])
def test_a_websocket_is_asked_for_its_origin(origin: str | None, refused: bool) -> None:
    """Browsers send it and ask nobody: refusing is left to the server."""
    headers = {"upgrade": "websocket", **({"origin": origin} if origin is not None else {})}
    if refused:
        with pytest.raises(GatewayError) as caught:
            run(LISTED, **headers)
        assert caught.value.number == 1103
    else:
        assert run(LISTED, **headers)[0] is None


# --- as a browser sees the whole gateway

DOCUMENT = """
plugins: [{cors: {origins: ["https://good.example"]}}, key_auth, quota]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
routes: [{path: /plain/*, to: up}]
"""


async def ask(stage: Stage, method: str = "GET", path: str = "/plain/x", key: str = KEY, **headers: Any) -> Answered:
    return await stage.ask(method, path, b"", key, origin=GOOD, **headers)


async def test_a_preflight_needs_no_key_and_tells_nothing_of_routes(stage: Stage) -> None:
    await stage.start(DOCUMENT % "http://127.0.0.1:1")
    asked = {"access_control_request_method": "POST"}
    real, made_up = await ask(stage, "OPTIONS", key="", **asked), await ask(stage, "OPTIONS", "/none", key="", **asked)

    def shown(answered: Answered) -> tuple[int, list[str]]:
        return answered.status, [line for line in answered.lines if not line.startswith(("x-request-id", "date"))]

    assert real.status == 204 and shown(real) == shown(made_up)
    assert stage.used() == 0


@pytest.mark.parametrize(
    ("key", "path", "status"), [("", "/plain/x", 401), (KEY, "/plain/x", 502), (KEY, "/none", 404)]
)
async def test_a_page_can_read_what_the_gateway_refuses(stage: Stage, key: str, path: str, status: int) -> None:
    await stage.start(DOCUMENT % "http://127.0.0.1:1")
    answered = await ask(stage, path=path, key=key)
    assert answered.status == status
    assert answered.header("access-control-allow-origin") == GOOD
    assert answered.header("vary") == "origin"


async def test_a_page_can_read_that_it_asks_too_often(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"x")))
    statuses = {}
    for _ in range(151):
        answered = await ask(stage)
        statuses[answered.status] = answered
    assert statuses[429].header("access-control-allow-origin") == GOOD
    assert "retry-after" in (statuses[429].header("access-control-expose-headers") or "")


async def test_the_upstreams_own_headers_do_not_pass(stage: Stage) -> None:
    own = ok(b"x", "Access-Control-Allow-Origin: *", "access-control-allow-credentials: true", "vary: accept")
    await stage.start(DOCUMENT % await stage.upstream(own))
    answered = await ask(stage)
    assert [line for line in answered.lines if line.startswith("access-control-allow")] == [
        f"access-control-allow-origin: {GOOD}"
    ]
    assert sorted(line for line in answered.lines if line.startswith("vary")) == ["vary: accept", "vary: origin"]


async def test_not_modified_varies_too(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(b"HTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"))
    answered = await ask(stage)
    assert (answered.status, answered.header("vary")) == (304, "origin")

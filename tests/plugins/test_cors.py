"""The twelve cases of the browser's protocol (WHATWG Fetch, 3.2), judged at the gateway."""

import asyncio
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


def test_1_simple_allowed() -> None:
    reply, lines = run(LISTED, origin=GOOD)
    assert reply is None
    assert lines["access-control-allow-origin"] == GOOD
    assert "X-Request-ID" in lines["access-control-expose-headers"]
    assert "access-control-allow-credentials" not in lines


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_2_simple_denied(method: str) -> None:
    headers = {"access_control_request_method": "GET"} if method == "OPTIONS" else {}
    _, lines = run(LISTED, method, origin="https://other.example", **headers)
    assert lines == {"vary": "Origin"}


def test_3_preflight_allowed() -> None:
    lines = preflight(LISTED)
    assert lines["access-control-allow-origin"] == GOOD
    assert lines["access-control-allow-methods"] == "GET, POST, PUT, PATCH, DELETE, OPTIONS"
    assert "access-control-expose-headers" not in lines


def test_options_alone_is_no_preflight() -> None:
    reply, lines = run(LISTED, "OPTIONS", origin=GOOD)
    assert reply is None and lines["access-control-allow-origin"] == GOOD
    assert run(LISTED, "OPTIONS", access_control_request_method="POST")[0] is None, "without an origin neither"


def test_4_preflight_with_disallowed_method() -> None:
    """What is listed is what may be used: the browser sees that DELETE is not there."""
    lines = preflight(Settings(origins=(GOOD,), methods=("GET",)), method="DELETE")
    assert lines["access-control-allow-methods"] == "GET"
    assert "DELETE" not in "".join(lines.values())


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
def test_5_preflight_with_disallowed_header_6_and_request_headers_lower_case_sorted(
    allowed: tuple[str, ...], asked: str, granted: str | None
) -> None:
    lines = preflight(Settings(origins=(GOOD,), headers=allowed), access_control_request_headers=asked)
    assert lines.get("access-control-allow-headers") == granted


def test_7_wildcard_never_with_credentials() -> None:
    with pytest.raises(ValueError, match="credentials"):
        Settings(origins=("*",), credentials=True)
    with pytest.raises(ValueError, match="credentials"):
        Settings(origins=(GOOD, "*"), credentials=True)
    _, lines = run(ANY, origin=GOOD)
    assert lines["access-control-allow-origin"] == "*"
    _, lines = run(Settings(origins=(GOOD,), credentials=True), origin=GOOD)
    assert (lines["access-control-allow-origin"], lines["access-control-allow-credentials"]) == (GOOD, "true")


def test_8_null_origin_only_where_it_is_listed() -> None:
    assert "access-control-allow-origin" not in run(LISTED, origin="null")[1]
    assert run(Settings(origins=("null",)), origin="null")[1]["access-control-allow-origin"] == "null"


@pytest.mark.parametrize(
    "origin",
    ["https://good.example.evil.com", "https://evilgood.example", "https://good.example:8443", "http://good.example",
     "HTTPS://GOOD.EXAMPLE", "https://good.example.", "https://good.example/", "https://a.good.example",
     "https://good.example, https://evil.com", "https://good.example@evil.com", ""],
)  # fmt: skip
def test_9_suffix_tricks(origin: str) -> None:
    _, lines = run(LISTED, origin=origin)
    assert lines == {"vary": "Origin"}


FAMILY = Settings(origins=("https://*.example.com", "http://*.dev.example:8080", GOOD), credentials=True)


@pytest.mark.parametrize(
    "origin", ["https://app.example.com", "https://a-1.example.com", "http://x.dev.example:8080", GOOD]
)
def test_a_star_stands_for_one_label(origin: str) -> None:
    assert run(FAMILY, origin=origin)[1]["access-control-allow-origin"] == origin
    assert preflight(FAMILY, origin)["access-control-allow-credentials"] == "true"


@pytest.mark.parametrize(
    "origin",
    ["https://example.com", "https://a.b.example.com", "https://.example.com", "https://app.example.com.evil.com",
     "https://evilexample.com", "https://appXexample.com", "http://app.example.com", "https://app.example.com:8443",
     "https://app.example.com/", "https://evil.com/.example.com", "https://evil.com?.example.com", "https://evil@a.example.com",
     "https://APP.example.com", "https://app.example.com\n", "https://a\u00e9.example.com", "http://x.dev.example"],
)  # fmt: skip
def test_9_suffix_tricks_on_a_star(origin: str) -> None:
    fields = [(b"host", b"a"), (b"origin", origin.encode("latin-1"))]
    exchange = Exchange("id", read_head(b"GET", b"/x", "1.1", fields), "GET", "/x", 0.0)
    Plugin(FAMILY).access(exchange)
    assert exchange.lines == ["Vary: Origin\r\n"]


@pytest.mark.parametrize(
    "origin",
    ["https://good.example/", "https://Good.example", "good.example", "https://good.example:443", "http://a.example:80",
     "https://*", "https://*.*.example.com", "https://a*.example.com", "https://a.*.com", "https://*.com",
     "*.example.com", "https://", "", "https://a b.example", "https://a.example?x"],
)  # fmt: skip
def test_an_origin_that_could_never_match_or_match_strangers_is_refused(origin: str) -> None:
    with pytest.raises(ValueError, match=r"origin|port|strangers"):
        Settings(origins=(origin,))


@pytest.mark.parametrize(
    "origin", ["http://localhost:3000", "http://[::1]:80", "capacitor://localhost", "http://*.localhost"]
)
def test_origins_are_of_many_kinds(origin: str) -> None:
    if origin.endswith(":80"):
        with pytest.raises(ValueError, match="port"):
            Settings(origins=(origin,))
    else:
        Settings(origins=(origin,))


@pytest.mark.parametrize("settings", [LISTED, ANY])
@pytest.mark.parametrize("origin", [GOOD, "https://other.example", None])
def test_10_vary_wherever_the_answer_depends_on_the_origin(settings: Settings, origin: str | None) -> None:
    headers = {"origin": origin} if origin is not None else {}
    assert run(settings, **headers)[1]["vary"] == "Origin"
    if origin is not None:
        assert preflight(settings, origin)["vary"] == "Origin"


@pytest.mark.parametrize(
    ("configured", "asked", "granted"), [(True, "true", True), (True, "", False), (False, "true", False)]
)
def test_11_private_network_only_when_configured(configured: bool, asked: str, granted: bool) -> None:
    headers = {"access_control_request_private_network": asked} if asked else {}
    lines = preflight(Settings(origins=(GOOD,), private_network=configured), **headers)
    assert ("access-control-allow-private-network" in lines) == granted


def test_12_max_age_bounded() -> None:
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


async def test_a_page_can_read_that_the_server_is_silent(stage: Stage) -> None:
    quiet = await stage.site.upstream(silence)
    document = DOCUMENT.replace("to: up}", "to: up, first_byte: 50ms}")
    await stage.start(document % f"http://127.0.0.1:{quiet.port}")
    answered = await ask(stage)
    assert (answered.status, answered.number) == (504, 1805)
    assert (answered.header("access-control-allow-origin"), answered.header("vary")) == (GOOD, "origin")


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def test_a_page_can_read_that_it_asks_too_often(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"x")))
    async with asyncio.timeout(60):  # the slower the machine, the more of them pass
        while (answered := await ask(stage)).status != 429:
            assert answered.status == 200
    assert answered.header("access-control-allow-origin") == GOOD
    assert "retry-after" in (answered.header("access-control-expose-headers") or "")


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


# --- routes with their own idea of origins

ROUTES = """
plugins: [{cors: {origins: ["https://good.example"]}}, key_auth]
backends: {up: {http: {endpoints: [{url: "%s"}]}}}
routes:
  - {path: /plain/*, to: up, methods: [POST]}
  - {path: /own, to: up, methods: [POST], plugins: [{cors: {origins: ["https://partner.example"]}}, key_auth]}
  - {path: /closed, to: up, methods: [POST], plugins: [key_auth]}
  - {path: /open, to: up, methods: [POST], plugins: [], auth: none}
"""
PARTNER = "https://partner.example"


@pytest.mark.parametrize(
    ("path", "origin", "granted"),
    [
        ("/own", PARTNER, True), ("/own", GOOD, False), ("/plain/x", GOOD, True), ("/plain/x", PARTNER, False),
        ("/none", GOOD, True), ("/none", PARTNER, False),
    ],
)  # fmt: skip
async def test_a_preflight_asks_the_route_that_it_is_about(stage: Stage, path: str, origin: str, granted: bool) -> None:
    await stage.start(ROUTES % await stage.upstream(ok(b"x")))
    asked = {"origin": origin, "access_control_request_method": "POST"}
    answered = await stage.ask("OPTIONS", path, key="", **asked)
    assert answered.status == 204
    assert answered.header("access-control-allow-origin") == (origin if granted else None)
    assert stage.received == []


async def test_a_route_without_cors_grants_nothing(stage: Stage) -> None:
    await stage.start(ROUTES % await stage.upstream(ok(b"x")))
    asked = {"origin": GOOD, "access_control_request_method": "POST"}
    closed = await stage.ask("OPTIONS", "/closed", key="", **asked)
    assert (closed.status, closed.number) == (401, 1001)
    opened = await stage.ask("OPTIONS", "/open", key="", **asked)
    assert (opened.status, opened.number) == (405, 1207), "its chain lets everybody pass, but it takes no OPTIONS"
    for answered in (closed, opened):
        assert answered.header("access-control-allow-origin") is None
    assert stage.received == []


async def test_an_odd_method_in_a_preflight_is_no_trouble(stage: Stage) -> None:
    await stage.start(ROUTES % "http://127.0.0.1:1")
    for method in ("", "\u00e9", "DELETE", "x" * 1000):
        answered = await stage.ask("OPTIONS", "/own", key="", origin=PARTNER, access_control_request_method=method)
        assert answered.status == 204 and answered.header("access-control-allow-origin") is None


async def test_a_websocket_of_a_stranger_is_refused(stage: Stage) -> None:
    await stage.start(DOCUMENT % await stage.upstream(ok(b"x")))
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "origin": "https://evil.example"}
    answered = await stage.ask("GET", "/plain/x", **upgrade)
    assert (answered.status, answered.number) == (403, 1103)
    assert stage.received == []

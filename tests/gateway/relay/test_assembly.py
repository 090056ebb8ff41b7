import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.link.door import Door
from gateway.relay.assembly import Assembly, assemble
from gateway.relay.chain import run_access
from gateway.relay.route import Route
from gateway.settings.load import load_text
from gateway.settings.problem import ConfigError

BASE = """
plugins: [key_auth, quota]
limits: {body: 5MB}
timeouts: {first_byte: 7s, idle: 8s, total: 9s}
backends: {a: {echo: }, b: {http: {endpoints: [{url: "http://127.0.0.1:1"}]}}}
models: {m: {backend: a}}
"""


def assembled(text: str) -> Assembly:
    return assemble(load_text(BASE + text, {}), 0)


def find(assembly: Assembly, method: str, path: str) -> Route:
    route, _ = assembly.directions.router.find(method, path)
    assert route is not None
    return route


def test_a_route_takes_what_the_file_leaves_open_from_the_whole() -> None:
    route = find(assembled("routes: [{path: /v1/x}]"), "POST", "/v1/x")
    assert (route.kind, route.target, route.cost, route.body, route.retry) == ("models", None, 1000, 5_000_000, False)
    assert (route.first_byte, route.idle, route.total) == (7.0, 8.0, 9.0)
    assert route.chain.names == ("failed_logins", "key_auth", "identity", "body", "model", "quota")
    assert route.methods == {"POST"}


def test_a_route_may_say_it_all() -> None:
    said = "path: /f/*, to: b, cost: 0.5, body: 1KB, retry: true, strip: /f, first_byte: 1s, idle: 0s, total: 3s"
    route = find(assembled(f"routes: [{{{said}}}]"), "DELETE", "/f/x")
    assert (route.kind, route.cost, route.body, route.retry, route.strip) == ("target", 500, 1000, True, "/f")
    assert (route.first_byte, route.idle, route.total) == (1.0, 0.0, 3.0)
    assert route.target is not None and route.target.name == "b"
    assert route.chain.names == ("failed_logins", "key_auth", "identity", "quota"), "bytes of others are not read"
    assert route.methods == frozenset()


def test_nothing_is_open_by_forgetting() -> None:
    """A chain without any authentication still asks who it is."""
    route = find(assembled("routes: [{path: /v1/x, plugins: []}]"), "POST", "/v1/x")
    assert route.chain.names == ("identity", "body", "model")
    assert assembled("").directions.fallback.chain.names == ("failed_logins", "key_auth", "identity", "quota")


def test_a_chain_of_its_own_has_plugins_of_its_own() -> None:
    assembly = assembled("routes: [{path: /v1/x, plugins: [quota]}, {path: /v1/y}]")
    assert [type(plugin).__module__ for plugin in assembly.plugins] == [
        "gateway.relay.guard", "plugins.key_auth", "plugins.quota", "gateway.relay.me", "plugins.quota",
    ]  # fmt: skip
    assert len({id(plugin) for plugin in assembly.plugins}) == 5


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", "own"),
        ("routes: [{path: /v1/*, to: b}]", "own"),  # the exact path wins
        ("routes: [{path: /v1/models, to: b}]", "target"),  # the operator's word counts
        ("routes: [{path: /v1/models, to: b, methods: [GET]}]", "target"),
        ("routes: [{path: /v1/models}]", "own"),  # it takes POST only
    ],
)
def test_the_gateways_own_pages_give_way(text: str, kind: str) -> None:
    assert find(assembled(text), "GET", "/v1/models").kind == kind


@pytest.mark.parametrize(
    ("auth", "names"),
    [
        ("required", "failed_logins key_auth identity body model quota"),
        ("optional", "failed_logins key_auth identity body model quota"),
        ("none", "body model quota"),
    ],
)
async def test_who_must_say_who_he_is(auth: str, names: str) -> None:
    route = find(assembled(f"routes: [{{path: /v1/x, auth: {auth}}}]"), "POST", "/v1/x")
    assert " ".join(route.chain.names) == names


@pytest.mark.parametrize("auth", ["required", "optional"])
@pytest.mark.parametrize(("path", "number"), [("/v1/x", 0), ("/v1/y", 1102)])
async def test_the_scope_of_a_key_holds_wherever_it_is_shown(auth: str, path: str, number: int) -> None:
    assembly = assembled(f"routes: [{{path: /v1/*, to: b, auth: {auth}, plugins: []}}]")
    head = read_head(b"GET", path.encode(), "1.1", [(b"host", b"a")])
    exchange = Exchange("id", head, "GET", head.path, 0.0)
    exchange.credential = Credential("k", "acme", "free", routes=("/v1/x",))
    chain = find(assembly, "GET", path).chain
    if number:
        with pytest.raises(GatewayError) as caught:
            await run_access(chain, exchange)
        assert caught.value.number == number
    else:
        assert await run_access(chain, exchange) is None


def test_an_unknown_plugin_is_told() -> None:
    with pytest.raises(ConfigError, match="unknown plugin `qouta`"):
        assembled("routes: [{path: /x, to: b, plugins: [qouta]}]")


@pytest.mark.parametrize(
    ("route", "path", "name"),
    [
        ("path: /v1/messages", "/v1/messages", "messages"),
        ("path: /v1/*", "/v1/audio/speech", "audio"),
        ("path: /v1/*", "/v1/responses", "responses"),
        ("path: /v1/*, dialect: rerank", "/v1/responses", "rerank"),
        ("path: /v1/responses, dialect: plain", "/v1/responses", None),
        ("path: /v1/*, to: b", "/v1/responses", None),
        ("path: /v1/*, to: b, dialect: responses", "/v1/x", "responses"),
    ],
)
def test_the_dialect_is_the_paths_or_what_the_file_says(route: str, path: str, name: str | None) -> None:
    dialect = find(assembled(f"routes: [{{{route}}}]"), "POST", path).dialect_of(path)
    assert (dialect.name if dialect is not None else None) == name


def test_control_is_behind_the_default_chain_without_those_who_hold_answers() -> None:
    """An export may be larger than what may be held."""
    text = BASE.replace("[key_auth, quota]", "[field_select, key_auth, {http_cache: {ttl: 1s}}, quota]")
    assembly = assemble(load_text(text, {}), 0, way=Door("/run/control.sock", "token"))
    route = find(assembly, "GET", "/api/v1/traces/x/feedback")
    assert (route.path, route.kind, route.cost, route.permission) == ("/api/v1/traces/*", "target", 0, "")
    assert route.chain.names == ("failed_logins", "key_auth", "identity", "quota", "control")
    assert not route.chain.buffers
    assert route.target is not None
    assert [candidate.url for candidate in route.target.candidates] == ["unix:/run/control.sock"]
    assert find(assembly, "GET", "/openapi.json").chain.names == ("quota", "control")


def test_a_route_of_the_file_stands_before_controls() -> None:
    assembly = assembled("routes: [{path: /api/v1/traces/*, to: b}, {path: /openapi.json, to: a, methods: [GET]}]")
    for path, name in (("/api/v1/traces/x", "b"), ("/openapi.json", "a"), ("/api/v1/usage/2026-11", "control")):
        target = find(assembly, "GET", path).target
        assert target is not None and target.name == name
    assert assembly.directions.router.find("POST", "/openapi.json") == (None, frozenset({"GET"}))

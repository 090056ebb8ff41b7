import asyncio
import json
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Credential, Exchange
from gateway.http.head import read_head
from gateway.settings.key import digest
from gateway.settings.schema import Role
from plugins.acl import Plugin, Settings
from tests.gateway.relay.stage import Stage

ROLES = {
    "admin": Role(may=("*",)),
    "developer": Role(may=("infer", "traces:*")),
    "viewer": Role(may=("traces:read",)),
    "nothing": Role(),
}


def started(settings: Settings) -> Plugin:
    plugin = Plugin(settings)
    services: Any = SimpleNamespace(roles=ROLES)
    asyncio.run(plugin.start(services))
    return plugin


def exchange_for(permission: str, credential: Credential | None) -> Exchange:
    exchange = Exchange("id", read_head(b"GET", b"/", "1.1", [(b"host", b"a")]), "GET", "/", 0.0)
    exchange.permission, exchange.credential = permission, credential
    return exchange


def ask(permission: str, role: str = "", scopes: tuple[str, ...] = (), settings: Settings | None = None) -> str:
    """The rule that refuses a caller, empty where none does."""
    exchange = exchange_for(permission, Credential("k", "acme", "free", role=role, permissions=scopes))
    plugin = started(settings or Settings())
    rules = set()
    for _ in range(2):  # the second verdict is remembered
        exchange.rule = ""
        try:
            plugin.access(exchange)
        except GatewayError as error:
            assert error.number == 1104
            assert error.details["rule"] == exchange.rule
            assert (error.details["permission"], error.details["role"]) == (permission, role)
            assert permission in error.details["help"]
        rules.add(exchange.rule)
    (rule,) = rules
    return rule


@pytest.mark.parametrize(
    ("role", "permission", "rule"),
    [
        ("admin", "anything:at:all", ""),
        ("developer", "infer", ""),
        ("developer", "traces:read", ""),
        ("developer", "traces:read:all", ""),
        ("developer", "traces", "acl:role:developer"),
        ("developer", "tracesx:read", "acl:role:developer"),
        ("developer", "models:load", "acl:role:developer"),
        ("viewer", "traces:read", ""),
        ("viewer", "traces:readmore", "acl:role:viewer"),
        ("viewer", "infer", "acl:role:viewer"),
        ("nothing", "infer", "acl:role:nothing"),
        ("nothing", "", ""),  # the route asks for nothing
        ("ghost", "infer", "acl:unknown_role"),
        ("ghost", "", ""),
        ("", "infer", ""),
        ("", "traces:read", "acl:unassigned"),
    ],
)
def test_s10_what_a_role_may(role: str, permission: str, rule: str) -> None:
    assert ask(permission, role) == rule


@pytest.mark.parametrize(
    ("role", "scopes", "permission", "rule"),
    [
        ("developer", ("infer",), "infer", ""),
        ("developer", ("infer",), "traces:read", "acl:narrowed"),
        ("admin", ("traces:*",), "traces:read", ""),
        ("admin", ("traces:*",), "infer", "acl:narrowed"),
        ("viewer", ("*", "infer"), "infer", "acl:role:viewer"),  # a scope never widens
        ("ghost", ("infer",), "infer", "acl:unknown_role"),
    ],
)
def test_scopes_narrow_and_never_widen(role: str, scopes: tuple[str, ...], permission: str, rule: str) -> None:
    assert ask(permission, role, scopes) == rule


def test_those_without_a_role_have_what_the_file_says() -> None:
    assert ask("infer", settings=Settings(unassigned=())) == "acl:unassigned"
    assert ask("traces:read", settings=Settings(unassigned=("*",))) == ""


@pytest.mark.parametrize(("anonymous", "refused"), [(("infer",), False), ((), True)])
def test_those_who_are_not_known(anonymous: tuple[str, ...], refused: bool) -> None:
    plugin, exchange = started(Settings(anonymous=anonymous)), exchange_for("infer", None)
    if not refused:
        return plugin.access(exchange)
    with pytest.raises(GatewayError, match="not known"):
        plugin.access(exchange)
    assert exchange.rule == "acl:anonymous"


@pytest.mark.parametrize(
    ("role", "scopes", "told"),
    [
        ("developer", (), ["infer", "traces:*"]),
        ("developer", ("traces:read", "models:load"), ["traces:read"]),
        ("viewer", ("*",), ["traces:read"]),
        ("", (), ["infer"]),
        ("ghost", (), []),
    ],
)
def test_it_describes_what_one_may(role: str, scopes: tuple[str, ...], told: list[str]) -> None:
    exchange = exchange_for("", Credential("k", "acme", "free", role=role, permissions=scopes))
    assert asyncio.run(started(Settings()).describe(exchange)) == {"permissions": told}


DOCUMENT = """
plugins: [key_auth, acl]
roles:
  viewer: {may: [traces:read]}
  analyst: {may: [usage:read], inherits: [viewer]}
backends: {b: {echo: }}
models: {m: {backend: b}}
routes:
  - {path: /v1/x}
  - {path: /traces, to: b, permission: traces:read, plugins: [key_auth, acl]}
  - {path: /usage, to: b, permission: usage:read, methods: [GET]}
  - {path: /usage, to: b, permission: usage:write, methods: [POST]}
"""


@pytest.mark.parametrize(
    ("method", "path", "number"),
    [
        ("POST", "/v1/x", 1104),
        ("GET", "/traces", 1707),  # it may, and the engine of this stage is not there
        ("GET", "/usage", 1707),
        ("POST", "/usage", 1104),  # of two routes with one path, each asks for its own
        ("GET", "/v1/models", 0),  # a list of what one may use is open to whoever is known
        ("GET", "/nothing", 1301),
    ],
)
async def test_s10_routes_ask_for_permissions(stage: Stage, method: str, path: str, number: int) -> None:
    await stage.start(DOCUMENT)
    stage.supervisor.keys[digest("key-of-analyst")] = Credential("a", "ann", "free", role="analyst")
    answered = await stage.ask(method, path, b'{"model":"m"}' if method == "POST" else b"", key="key-of-analyst")
    if number == 1707:
        assert answered.status != 403
    else:
        assert answered.number == number
    if number == 1104:
        error = json.loads(answered.body)["error"]
        assert (error["type"], error["details"]["role"]) == ("permission_error", "analyst")
        assert (await stage.row()).rule == "acl:role:analyst"

"""One case per rule: a configuration that is good but for one thing."""

from collections.abc import Sequence
from typing import Any

import pytest
import yaml

from gateway.plugin import BasePlugin
from gateway.settings.check import find_problems
from gateway.settings.document import read_document
from gateway.settings.load import build
from gateway.settings.problem import Problem
from gateway.settings.rules import exposure, parts

HASH = "a" * 64
GOOD: dict[str, Any] = {
    "listen": {"proxy": "127.0.0.1:8000", "status": "127.0.0.1:8100"},
    "workers": 1,
    "tiers": {"free": {"rate": "100/min", "burst": 150}, "pro": {"rate": "1000/min"}},
    "consumers": {"acme": {"tier": "free", "keys": [{"sha256": HASH}]}},
    "backends": {"fleet": {"http": {"endpoints": [{"url": "http://127.0.0.1:9"}]}}},
    "models": {"m": {"backend": "fleet"}},
    "plugins": ["key_auth", "toll"],
    "routes": [{"path": "/v1/chat/completions"}, {"path": "/files/*", "to": "fleet", "cost": 2}],
}


@pytest.fixture(autouse=True)
def _plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins of our own, so that the rules are tested and not the plugins."""

    class Auth(BasePlugin[Any]):
        authenticates = True

    class Reader(BasePlugin[Any]):
        needs = "body"

    class Edge(BasePlugin[Any]):
        place = "edge"

    class Shape(BasePlugin[Any]):
        needs = "body"
        place = "shape"

    class Toll(BasePlugin[Any]):
        needs = "model"
        place = "charge"

    class Store(BasePlugin[Any]):
        place = "answer"

    class Roles(BasePlugin[Any]):
        authorizes = True

    kinds: dict[str, type[BasePlugin[Any]]] = {
        "key_auth": Auth, "reader": Reader, "edge": Edge, "shape": Shape, "toll": Toll, "store": Store, "roles": Roles,
    }  # fmt: skip
    real = parts.load_plugin
    for module in (parts, exposure):
        monkeypatch.setattr(
            module, "load_plugin", lambda name, raw: kinds[name](raw) if name in kinds else real(name, raw)
        )


def find(changes: dict[str, Any], **environ: str) -> list[Problem]:
    text = yaml.safe_dump({**GOOD, **changes}, sort_keys=False)
    document = read_document(text, environ)
    return find_problems(build(document), document)


def told(problems: Sequence[Problem]) -> list[str]:
    return [f"{problem.level}: {problem.path}: {problem.message}" for problem in problems]


def test_a_good_configuration_has_no_problems() -> None:
    assert told(find({})) == []


def _tier(**tier: Any) -> dict[str, Any]:
    return {"tiers": {"free": {"rate": "100/min", "burst": 150, **tier}}}


def _keys(*keys: dict[str, Any]) -> dict[str, Any]:
    return {"consumers": {"acme": {"tier": "free", "keys": list(keys)}}}


def _models(**models: Any) -> dict[str, Any]:
    return {"models": {"m": {"backend": "fleet"}, **models}}


PRICE = {"price": {"input": 1, "output": 2}}


def _http(url: str) -> dict[str, Any]:
    return {"http": {"endpoints": [{"url": url}]}}


def _routes(*routes: dict[str, Any]) -> dict[str, Any]:
    return {"routes": list(routes)}


CASES: list[tuple[dict[str, Any], str]] = [
    ({"listen": {"proxy": "nowhere"}}, "error: listen.proxy[0].address: 'nowhere' is not an address"),
    ({"listen": {"proxy": ":8000"}}, "error: listen.proxy[0].address: ':8000' is not an address"),
    ({"listen": {"proxy": "127.0.0.1:70000"}}, "error: listen.proxy[0].address: '127.0.0.1:70000' is not an address"),
    ({"listen": {"proxy": "unix:relative"}}, "error: listen.proxy[0].address: 'unix:relative' needs an absolute path"),
    ({"listen": {"status": "x"}}, "error: listen.status: 'x' is not an address"),
    ({"listen": {"admin": "x"}}, "error: listen.admin: 'x' is not an address"),
    (
        {"listen": {"admin": "127.0.0.1:8100"}},
        "error: listen.admin: 127.0.0.1:8100 is already taken by listen.status",
    ),
    ({"demo": True, "listen": {"admin": "10.0.0.1:8001"}}, "error: listen.admin: 10.0.0.1:8001 is open to others"),
    ({"listen": {"admin": "0.0.0.0:8001"}}, "warning: listen.admin: 0.0.0.0:8001 is open to others, without TLS"),
    ({"admin": {"key": "short"}}, "error: admin.key: must have 16 characters or more"),
    ({"admin": {"key": "x" * 16, "sha256": "0" * 64}}, "error: admin: must have either `sha256` or `key`"),
    ({"admin": {"sha256": "0"}}, "error: admin.sha256: is not a SHA-256"),
    ({"admin": {"key": "x" * 16}}, "warning: admin.key: a secret in plain text"),
    (
        {"backends": {**GOOD["backends"], "control": _http("http://h")}},
        "error: backends.control: this name is the gateway's own",
    ),
    ({"listen": {"proxy": []}}, "error: listen.proxy: must name at least one address"),
    (
        {"listen": {"proxy": "127.0.0.1:8100"}},
        "error: listen.status: 127.0.0.1:8100 is already taken by listen.proxy[0]",
    ),
    ({"listen": {"proxy": "0.0.0.0:8100"}}, "error: listen.status: 127.0.0.1:8100 is already taken by listen.proxy[0]"),
    ({"listen": {"proxy": ["unix:/a", "unix:/a"]}}, "error: listen.proxy[1].address: unix:/a is already taken"),
    ({"demo": True, "listen": {"proxy": "0.0.0.0:8000"}}, "error: listen.proxy[0].address: 0.0.0.0:8000 is open to"),
    ({"demo": True, "listen": {"status": "10.0.0.1:8000"}}, "error: listen.status: 10.0.0.1:8000 is open to others"),
    (
        {"listen": {"proxy": {"address": "127.0.0.1:1", "cert": "/nope", "key": "/nope"}}},
        "error: listen.proxy[0].certificates[0].cert: the file /nope cannot be read",
    ),
    ({"workers": 256}, "warning: workers: 256 workers share"),
    ({"state": {"directory": "/dev/null/x"}}, "error: state.directory: /dev/null is not a directory"),
    (_tier(by="moon"), "error: tiers.free.by: `moon` is not consumer, credential, project"),
    (_tier(by="header:X-Client"), "error: tiers.free.by: `header:X-Client` is not"),
    ({"tiers": {"free": {}, "größe": {}}}, "error: tiers.größe: the name stands in headers"),
    ({"tiers": {"free": {}, 'a"b': {}}}, 'error: tiers.a"b: the name stands in headers'),
    (_models(**{"名": {"backend": "fleet"}}), "error: models.名: the name stands in headers"),
    ({"consumers": {"acme ": {"tier": "free"}}}, "error: consumers.acme : the name stands in headers"),
    ({"consumers": {"a": {"tier": "free", "project": "x\ny"}}}, "error: consumers.a.project: it stands in headers"),
    (_tier(rate="unlimited"), "warning: tiers.free.burst: means nothing beside an unlimited rate"),
    (_tier(burst=1), "error: routes[1].cost: /files/* costs 2 units, more than any tier can ever hold (1)"),
    (_tier(monthly=1), "error: routes[1].cost: /files/* costs 2 units, more than any tier can ever hold (1)"),
    (
        _models(dear={"backend": "fleet", "cost": 151}),
        "warning: routes[0].cost: /v1/chat/completions with dear costs 151",
    ),
    ({"consumers": {"a": {"tier": "fre"}}}, "error: consumers.a.tier: no tier `fre`, did you mean `free`?"),
    ({"consumers": {"a b": {"tier": "free"}}}, "error: consumers.a b: names are letters, digits"),
    ({"consumers": {"a": {"tier": "free", "models": ["zz*"]}}}, "warning: consumers.a.models: `zz*` matches no model"),
    (_keys({}), "error: consumers.acme.keys[0]: must have either `sha256` or `key`"),
    (_keys({"sha256": HASH, "key": "${KEY}"}), "error: consumers.acme.keys[0]: must have either `sha256` or `key`"),
    (_keys({"sha256": "xyz"}), "error: consumers.acme.keys[0].sha256: is not a SHA-256"),
    (_keys({"key": "${SHORT}"}), "error: consumers.acme.keys[0].key: must be 8 to 512 visible ASCII characters"),
    (_keys({"key": "${BROKEN}"}), "error: consumers.acme.keys[0].key: is mistyped"),
    (_keys({"key": "literally-this"}), "warning: consumers.acme.keys[0].key: a key in plain text; write its `sha256`"),
    (_keys({"sha256": HASH, "expires": "soon"}), "error: consumers.acme.keys[0].expires: `soon` is not a date"),
    (_keys({"sha256": HASH, "expires": "2020-01-01"}), "warning: consumers.acme.keys[0].expires: the key has expired"),
    (
        _keys({"sha256": HASH}, {"sha256": HASH}),
        "error: consumers.acme.keys[1]: the same key stands at consumers.acme.k",
    ),
    (_keys({"sha256": HASH, "id": "x"}, {"key": "${KEY}", "id": "x"}), "error: consumers.acme.keys[1]: the same id"),
    (
        {"backends": {**GOOD["backends"], "models": {"http": {"endpoints": [{"url": "http://h"}]}}}},
        "error: backends.mod",
    ),
    (
        {"backends": {**GOOD["backends"], "b": {"htp": {}}}},
        "error: backends.b.htp: unknown backend `htp`, did you mean",
    ),
    ({"backends": {"fleet": {"http": {}}}}, "error: backends.fleet.http: `endpoints` is missing"),
    (
        {"backends": {"fleet": {"http": {"endpoint": []}}}},
        "error: backends.fleet.http.endpoint: unknown key `endpoint`",
    ),
    (_models(n={}), "error: models.n: must have either `backend` or `alias`"),
    (_models(n={"backend": "flet"}), "error: models.n.backend: no backend `flet`, did you mean `fleet`?"),
    (_models(n={"alias": "x"}), "error: models.n.alias: no model `x`"),
    (_models(n={"backend": "fleet", "fallback": ["m", "x"]}), "error: models.n.fallback.to[1]: no model `x`"),
    (_models(n={"backend": "fleet", "fallback": "n"}), "error: models.n.fallback.to[0]: `n` is the model itself"),
    (_models(n={"alias": "m", "fallback": "m"}), "error: models.n.fallback: an alias falls back where its model does"),
    (_models(n={"backend": "fleet", "fallback": {"to": ["m"], "on": []}}), "error: models.n.fallback.on: is empty"),
    (_models(n={"alias": "o"}, o={"alias": "n"}), "error: models.n.alias: the aliases go in a circle"),
    (_models(**{"../etc": {"backend": "fleet"}}), "error: models.../etc: a model's name is"),
    ({"plugins": ["key_aut"]}, "error: plugins[0].key_aut: unknown plugin `key_aut`, did you mean `key_auth`?"),
    (
        {"tiers": {"free": {}}, "plugins": ["key_auth", {"size_limit": {"tiers": {"fre": 1, "anonymous": 2}}}]},
        "error: plugins[1].size_limit.tiers.fre: no tier `fre`, did you mean `free`?",
    ),
    ({"plugins": ["key_auth", "key_auth"]}, "error: plugins[1].key_auth: stands twice in its chain"),
    ({"plugins": ["reader", "key_auth"]}, "warning: plugins[0].reader: reads the request's body before the caller is"),
    ({"plugins": ["key_auth", "edge", "toll"]}, "warning: plugins[0].key_auth: asks for a credential before edge has"),
    ({"plugins": ["roles", "key_auth", "toll"]}, "warning: plugins[0].roles: judges the caller before key_auth has"),
    ({"plugins": ["key_auth", "shape", "roles"]}, "warning: plugins[1].shape: looks into the request before roles has"),
    ({"plugins": ["key_auth", "toll", "shape"]}, "warning: plugins[1].toll: charges before shape has looked at the"),
    ({"plugins": ["key_auth", "store", "shape"]}, "warning: plugins[1].store: may answer before shape has looked"),
    ({"plugins": ["toll", "key_auth"]}, "warning: plugins[0].toll: reads the request's body before the caller is kn"),
    ({"plugins": ["key_auth"]}, "warning: tiers.free: no chain has a plugin that charges"),
    ({"roles": {"r": {"may": ["infer"]}}}, "warning: roles: no chain has a plugin that authorizes"),
    (
        {"plugins": ["toll"], "routes": [{"path": "/x", "auth": "none"}]},
        "warning: consumers.acme.keys: no chain has a plugin that authenticates",
    ),
    (
        {"tiers": {"t": {"budget": "5 USD/month"}}},
        "warning: models.m: has no price, so that the budget of tiers.t does",
    ),
    (_models(n={"backend": "fleet", "limits": [{"budget": "1 USD/month"}]}), "warning: models.m: has no price"),
    (_routes({"path": "/x", "limits": [{"budget": "1 USD/month"}]}), "warning: models.m: has no price, so that the b"),
    (
        _models(**{"llama-*": {"backend": "fleet"}, "*-large": {"backend": "fleet", "name": "x"}}),
        "warning: models.*-large: some names match",
    ),
    (
        {
            "backends": {"fleet": _http("https://api.example.com")},
            **_routes({"path": "/x", "to": "fleet", "auth": "none"}),
        },
        "warning: routes[0].auth: anybody may call https://api.example.com through this route",
    ),
    (_routes({"path": "/x", "auth": "optional"}), "warning: routes[0].auth: callers without a key have no limit here"),
    ({"listen": {"status": "8.8.8.8:8100"}}, "warning: listen.status: 8.8.8.8:8100 can be reached from the internet"),
    (
        {"backends": {"fleet": {"http": {"endpoints": [{"url": "http://h"}], "key": "sk-literal"}}}},
        "warning: backends.fleet.http.key: a secret in plain text; take it from",
    ),
    ({"state": {"replicas": 2}}, "error: state.replicas: 2 replicas would each count for itself"),
    ({"state": {"replicas": 2, "redis": "redis://r:6379"}}, "warning: state.replicas: keys and consumers that"),
    ({"state": {"database": "mysql"}}, "error: state.database: must be `sqlite`, or the URL"),
    ({"state": {"database": "mysql://h/d"}}, "error: state.database: cannot be read"),
    ({"state": {"database": "postgresql://h"}}, "error: state.database: cannot be read"),
    ({"state": {"database": "postgresql://h:x/d"}}, "error: state.database: cannot be read"),
    ({"state": {"database": "postgresql://u:secret@h/d"}}, "warning: state.database: a secret in plain text"),
    ({"state": {"database": "postgresql://u@h/d", "retention": 0}}, "warning: state.retention: traces stay for ever"),
    ({"state": {"redis": "redis://h:x"}}, "error: state.redis: the URL's port is not a number"),
    ({"state": {"redis": "redis://:secret@r:6379"}}, "warning: state.redis: a secret in plain text"),
    ({"webhooks": [{"url": "https://h.example.com", "secret": "s" * 32}]}, "warning: webhooks[0].secret: a secret in"),
    ({"plugins": []}, "error: routes[0]: every request would be refused: no plugin of its chain authenticates"),
    (_routes(), "warning: routes: there are no routes"),
    (_routes({"path": "/x", "plugins": []}), "error: routes[0]: every request would be refused"),
    (_routes({"path": "/x", "plugins": [], "auth": "optional"}), "warning: routes[0]: nobody is ever identified here"),
    (_routes({"path": "/x", "to": "flet"}), "error: routes[0].to: no backend `flet`, did you mean `fleet`?"),
    ({"models": {}}, "error: routes[0]: leads to models, but there are none"),
    (_routes({"path": "x"}), "error: routes[0].path: `x` is not a plain path"),
    (_routes({"path": "/a/../b"}), "error: routes[0].path: `/a/../b` is not a plain path"),
    (_routes({"path": "/a/*/b"}), "error: routes[0].path: `/a/*/b` is not a plain path"),
    (_routes({"path": "/a", "methods": ["get"]}), "error: routes[0].methods: `get` is not a method"),
    (_routes({"path": "/a", "methods": ["TRACE"]}), "error: routes[0].methods: `TRACE` is not a method"),
    (_routes({"path": "/a/b", "strip": "/b"}), "error: routes[0].strip: `/b` is not the beginning of /a/b"),
    (_routes({"path": "/a"}, {"path": "/a"}), "error: routes[1]: is never reached: routes[0] takes the same"),
    (_routes({"path": "/a", "to": "fleet"}, {"path": "/a", "methods": ["GET"]}), "error: routes[1]: is never reached"),
    (_routes({"path": "/a", "methods": ["GET", "POST"]}, {"path": "/a"}), "error: routes[1]: is never reached"),
]


@pytest.mark.parametrize(("changes", "expected"), CASES, ids=[expected[:60] for _, expected in CASES])
def test_what_is_wrong_is_told(changes: dict[str, Any], expected: str) -> None:
    problems = find(changes, KEY="eight-letters", SHORT="short", BROKEN="tk_" + "a" * 12 + "_" + "b" * 43 + "_cccccc")
    assert any(line.startswith(expected) for line in told(problems)), told(problems)


GOOD_CASES: list[dict[str, Any]] = [
    {"demo": True, "listen": {"proxy": ["[::1]:8000", "unix:/tmp/x", "localhost:8001"]}},
    {"listen": {"proxy": ["127.0.0.1:0", "127.0.0.1:0"]}},
    {"listen": {"proxy": ["0.0.0.0:8000", "[::]:8000"]}},
    _keys({"key": "${KEY}"}, {"sha256": HASH, "expires": "2999-01-31T12:00:00Z", "models": ["m"]}),
    _models(**{"llama-*": {"backend": "fleet"}, "org/name:tag": {"alias": "m"}, "n": {"alias": "llama-*"}}),
    _models(n={"backend": "fleet", "fallback": ["m", "also-n"]}, **{"also-*": {"backend": "fleet", "fallback": "n"}}),
    _routes({"path": "/x", "plugins": [], "auth": "none"}),
    _routes({"path": "/a", "methods": ["GET"]}, {"path": "/a", "methods": ["POST"]}, {"path": "/a/*"}, {"path": "/*"}),
    _routes({"path": "/a"}, {"path": "/a", "methods": ["GET"]}),
    _routes({"path": "/a/b/*", "strip": "/a"}),
    _tier(by="header:x-client-id"),
    {"plugins": ["edge", "key_auth", "roles", "shape", "toll", "store"], "roles": {"r": {"may": ["infer"]}}},
    {"plugins": ["key_auth", "store", "toll"]},
    {"state": {"replicas": 3, "redis": "redis://r:6379", "database": "postgresql://u@h:5432/d?sslmode=require"}},
    {"state": {"database": "postgresql://u:${KEY}@h/d"}},
    {
        "backends": {"fleet": _http("http://10.0.0.5:8000")},
        **_routes({"path": "/x", "to": "fleet", "auth": "none", "cost": 0}),
    },
    {"backends": {"fleet": {"http": {"endpoints": [{"url": "http://h"}], "key": "${KEY}"}}}},
    {"tiers": {"t": {"budget": "5 USD/month"}}, "consumers": {}, "models": {"m": {"backend": "fleet", **PRICE}}},
    _models(**{"llama-*": {"backend": "fleet"}, "llama-3*": {"backend": "fleet", "name": "x"}}),
]


@pytest.mark.parametrize("changes", GOOD_CASES, ids=str)
def test_what_is_right_is_not_complained_about(changes: dict[str, Any]) -> None:
    assert told(find(changes, KEY="eight-letters")) == []


def test_problems_carry_lines_and_come_in_the_order_of_the_file() -> None:
    problems = find({"workers": 256, "plugins": ["nope"], "tiers": {"x": {"by": "y"}}})
    assert [problem.line for problem in problems] == sorted(problem.line for problem in problems)
    assert all(problem.line > 0 for problem in problems)

"""What a credential may at all, on real requests."""

import json

import pytest

from gateway.exchange import Credential
from gateway.settings.key import digest
from tests.gateway.relay.stage import Stage, ok

BODY = b'{"model":"m"}'
DOCUMENT = """
plugins: [key_auth, quota]
backends: {{b: {{http: {{endpoints: [{{url: "{url}"}}]}}}}}}
models:
  m: {{backend: b}}
  nick: {{alias: secret}}
  secret: {{backend: b, projects: [rockets, boats]}}
  "hidden-*": {{backend: b, projects: [boats]}}
routes:
  - {{path: /v1/x}}
  - {{path: /open/x, auth: optional}}
  - {{path: /nobody/x, auth: none}}
  - {{path: /raw/*, to: b}}
  - {{path: /boats/*, to: b, projects: [boats]}}
  - {{path: /harbour/*, to: b, projects: [boats], auth: optional}}
"""


@pytest.fixture
async def open_stage(stage: Stage) -> Stage:
    holders = {
        "boats": Credential("b", "boatman", "free", "boats"),
        "nowhere": Credential("n", "nomad", "free"),
        "reader": Credential("r", "reader", "free", methods=("GET", "HEAD")),
        "near": Credential("l", "local", "free", addresses=("127.0.0.0/8",)),
        "far": Credential("f", "far", "free", addresses=("10.0.0.0/8", "unix")),
    }
    stage.supervisor.keys |= {digest(f"key-of-{name}"): holder for name, holder in holders.items()}
    url = await stage.upstream(ok(b"{}", "content-type: application/json"))
    return await stage.start(DOCUMENT.format(url=url))


@pytest.mark.parametrize(
    ("key", "method", "path", "number"),
    [
        ("key-of-near", "GET", "/raw/x", 0),
        ("key-of-far", "GET", "/raw/x", 1106),
        ("key-of-far", "GET", "/open/x", 1106),
        ("key-of-reader", "GET", "/raw/x", 0),
        ("key-of-reader", "POST", "/raw/x", 1107),
        ("key-of-reader", "POST", "/v1/x", 1107),
        ("key-of-reader", "DELETE", "/raw/x", 1107),
        ("key-of-boats", "GET", "/boats/x", 0),
        ("key-of-acme-0001", "GET", "/boats/x", 1105),
        ("key-of-nowhere", "GET", "/boats/x", 1105),
        ("", "GET", "/boats/x", 1001),
        ("", "GET", "/harbour/x", 1105),
        ("key-of-boats", "GET", "/harbour/x", 0),
    ],
)
async def test_routes_methods_and_addresses(open_stage: Stage, key: str, method: str, path: str, number: int) -> None:
    answered = await open_stage.ask(method, path, key=key, x_http_method_override="GET", x_forwarded_for="10.0.0.1")
    assert answered.number == number
    if number > 1001:
        error = json.loads(answered.body)["error"]
        row = await open_stage.row()
        assert answered.status == 403
        assert error["details"]["rule"] == row.rule
        assert (row.outcome, row.units) == ("refused", 0)


@pytest.mark.parametrize(
    ("key", "path", "model", "number"),
    [
        ("key-of-acme-0001", "/v1/x", "secret", 0),
        ("key-of-acme-0001", "/v1/x", "nick", 0),
        ("key-of-acme-0001", "/v1/x", "hidden-1", 1105),
        ("key-of-boats", "/v1/x", "hidden-1", 0),
        ("key-of-nowhere", "/v1/x", "secret", 1105),
        ("key-of-nowhere", "/v1/x", "nick", 1105),
        ("key-of-nowhere", "/open/x", "secret", 1105),
        ("", "/open/x", "secret", 1105),
        ("key-of-boats", "/nobody/x", "secret", 1105),  # nobody is known there
        ("", "/nobody/x", "m", 0),
    ],
)
async def test_s62_models_of_other_projects(open_stage: Stage, key: str, path: str, model: str, number: int) -> None:
    answered = await open_stage.ask("POST", path, json.dumps({"model": model}).encode(), key=key)
    assert (answered.status, answered.number) == (403 if number else 200, number)
    assert len(open_stage.received) == (0 if number else 1), "nothing was asked of the model"
    if number:
        row = await open_stage.row()
        assert (row.outcome, row.units) == ("refused", 0)


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("key-of-acme-0001", ["m", "nick", "secret"]),
        ("key-of-boats", ["m", "nick", "secret"]),
        ("key-of-nowhere", ["m"]),
    ],
)
async def test_s62_models_of_other_projects_are_not_there(open_stage: Stage, key: str, names: list[str]) -> None:
    listed = json.loads((await open_stage.ask("GET", "/v1/models", key=key)).body)
    assert [model["id"] for model in listed["data"]] == names
    for name in ("secret", "nick"):
        assert (await open_stage.ask("GET", f"/v1/models/{name}", key=key)).status == (200 if name in names else 404)

import json

import pytest

from gateway.errors import CATALOGUE
from gateway.exchange import Credential
from gateway.settings.key import digest
from tests.gateway.relay.stage import Stage

DOCUMENT = """
plugins: [key_auth, quota]
backends: {a: {echo: }}
models: {small: {backend: a}, nick: {alias: small}, org/large: {backend: a}, "any-*": {backend: a}}
"""


@pytest.fixture
async def open_stage(stage: Stage) -> Stage:
    stage.supervisor.keys[digest("scoped-key-1")] = Credential("k2", "acme", "free", models=("small",))
    return await stage.start(DOCUMENT)


@pytest.mark.parametrize(
    ("key", "names"),
    [("key-of-acme-0001", ["small", "nick", "org/large"]), ("scoped-key-1", ["small", "nick"])],
)
async def test_a_list_of_what_the_key_may_use(open_stage: Stage, key: str, names: list[str]) -> None:
    answered = await open_stage.ask("GET", "/v1/models", key=key)
    assert (answered.status, answered.header("content-type")) == (200, "application/json")
    listed = json.loads(answered.body)
    assert listed["object"] == "list"
    assert listed["data"] == [
        {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "tollkeeper"} for name in names
    ]
    assert answered.header("x-ratelimit-remaining") is None, "it costs nothing"


@pytest.mark.parametrize(
    ("name", "key", "status"),
    [
        ("small", "key-of-acme-0001", 200),
        ("nick", "scoped-key-1", 200),
        ("org/large", "key-of-acme-0001", 200),
        ("any-thing", "key-of-acme-0001", 200),
        ("org/large", "scoped-key-1", 404),  # as if it were not there
        ("none", "key-of-acme-0001", 404),
        ("", "key-of-acme-0001", 404),
    ],
)
async def test_one_model(open_stage: Stage, name: str, key: str, status: int) -> None:
    answered = await open_stage.ask("GET", f"/v1/models/{name}", key=key)
    assert answered.status == status
    if status == 200:
        assert json.loads(answered.body)["id"] == name
    else:
        assert answered.number == 1302


async def test_models_are_for_those_who_have_a_key(open_stage: Stage) -> None:
    assert (await open_stage.ask("GET", "/v1/models", key="")).number == 1001
    assert (await open_stage.ask("POST", "/v1/models")).number == 1207


async def test_every_error_explains_itself_to_everybody(open_stage: Stage) -> None:
    for number in (1501, 1900, max(CATALOGUE)):
        answered = await open_stage.ask("GET", f"/errors/{number}", key="")
        told = json.loads(answered.body)
        assert (answered.status, told["number"], told["title"]) == (200, number, CATALOGUE[number].title)
        assert told["cause"] and told["cure"] and told["code"]


async def test_a_browser_gets_an_errors_page(open_stage: Stage) -> None:
    answered = await open_stage.ask("GET", "/errors/1005", key="", accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert answered.header("content-type") == "text/html; charset=utf-8"
    assert answered.header("vary") == "accept"
    assert "<h1>1005 " in answered.body.decode() and "Bearer &lt;key&gt;" in answered.body.decode()


@pytest.mark.parametrize("number", ["9999", "15010", "x", "", "-501", "1e3", "%EF%BC%91501"])
async def test_what_is_no_number_of_the_catalogue(open_stage: Stage, number: str) -> None:
    answered = await open_stage.ask("GET", f"/errors/{number}", key="")
    assert answered.status in (400, 404)


async def test_head_tells_what_get_would(open_stage: Stage) -> None:
    got, head = await open_stage.ask("GET", "/v1/models"), await open_stage.ask("HEAD", "/v1/models")
    assert head.status == 200 and head.header("content-length") == str(len(got.body))

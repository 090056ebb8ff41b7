"""Who may do what: keys, scopes, expiry, several keys, credentials that contradict each other."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.scene import KEYS
from tests.e2e.wire import CHAT, Answer, ask, bearer, row_of
from tests.harness import Gateway, eventually


def _chat(site: Gateway, key: str, model: str = "echo", **headers: str) -> Answer:
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": "hi"}]}).encode()
    return ask(site, "POST", CHAT, bearer(key, **headers), body)


@pytest.mark.parametrize("name", ["spaced", "second", "later", "narrow"])
def test_a_good_key(site: Gateway, name: str) -> None:
    answer = _chat(site, KEYS[name])
    assert answer.status == 200
    row = row_of(site, answer.request_id)
    who = "narrow" if name == "narrow" else "acme"
    assert (row["consumer"], row["credential"], row["tier"], row["units"]) == (who, name, "monthly", 1000)


@pytest.mark.parametrize("header", ["x-api-key", "api-key", "X-API-Key"])
def test_a_key_in_its_own_header(site: Gateway, header: str) -> None:
    answer = ask(site, "GET", "/echo/strict/x", {header: KEYS["spaced"]})
    assert answer.status == 200
    assert KEYS["spaced"] not in answer.body.decode()


@pytest.mark.parametrize(
    ("headers", "status", "number"),
    [
        ({}, 401, 1001),
        ({"Authorization": "Basic dXNlcjpwYXNz"}, 401, 1001),
        ({"Authorization": "Bearer"}, 401, 1005),
        ({"Authorization": "Bearer "}, 401, 1005),
        ({"Authorization": "Bearer unknown-key"}, 401, 1002),
        ({"Authorization": "Bearer ' OR '1'='1"}, 401, 1002),
        ({"Authorization": "Bearer \xff\xfe\xe9"}, 401, 1002),
        ({"Authorization": f"Bearer {'x' * 9000}"}, 401, 1005),
        ({"Authorization": f"Bearer {KEYS['old']}"}, 401, 1003),
        ({"Authorization": f"Bearer {KEYS['spaced']}x"}, 401, 1002),
        ({"Authorization": f"Bearer {KEYS['spaced'].lower()}"}, 401, 1002),
        ({"x-api-key": "unknown-key"}, 401, 1002),
        ({"Authorization": f"Bearer {KEYS['spaced']}", "x-api-key": KEYS["second"]}, 400, 1004),
        ({"api-key": KEYS["spaced"], "x-api-key": KEYS["second"]}, 400, 1004),
    ],
)
def test_s03_s04_a_bad_key(site: Gateway, headers: dict[str, str], status: int, number: int) -> None:
    answer = ask(site, "GET", "/echo/strict/x", headers)
    assert (answer.status, answer.error) == (status, number)
    assert answer.get("www-authenticate") == ("Bearer" if status == 401 else None)
    row = row_of(site, answer.request_id)
    assert (row["outcome"], row["units"], row["consumer"], row["error"]) == ("refused", 0, "", number)


def test_a_bad_key_is_refused_even_where_none_is_needed(site: Gateway) -> None:
    assert ask(site, "GET", "/echo/x", bearer("unknown-key")).error == 1002
    assert ask(site, "GET", "/echo/x").status == 200


def test_the_same_key_twice_is_one_key(site: Gateway) -> None:
    assert ask(site, "GET", "/echo/strict/x", {**bearer(KEYS["second"]), "x-api-key": KEYS["second"]}).status == 200


def test_s08_a_key_in_the_query_is_no_key(site: Gateway) -> None:
    assert ask(site, "GET", f"/echo/strict/x?api_key={KEYS['second']}").error == 1001


def _models(site: Gateway, key: str) -> set[str]:
    return {model["id"] for model in ask(site, "GET", "/v1/models", bearer(key)).json["data"]}


def test_scopes_on_models(site: Gateway) -> None:
    assert _chat(site, KEYS["mini"], "echo-mini").status == 200
    refused = _chat(site, KEYS["mini"], "echo")
    assert (refused.status, refused.error, refused.json["error"]["param"]) == (403, 1101, "model")
    row = row_of(site, refused.request_id)
    assert (row["outcome"], row["units"], row["model"]) == ("refused", 0, "echo")
    assert _models(site, KEYS["mini"]) == {"echo-mini"}
    assert ask(site, "GET", "/v1/models/echo", bearer(KEYS["mini"])).error == 1302
    assert ask(site, "GET", "/v1/models/echo-mini", bearer(KEYS["mini"])).json["id"] == "echo-mini"


def test_a_key_never_widens_its_consumer(site: Gateway) -> None:
    assert _chat(site, KEYS["narrow"], "renamed").error == 1101
    assert _models(site, KEYS["narrow"]) == {"echo", "echo-mini"}


def test_scopes_on_routes(site: Gateway) -> None:
    assert ask(site, "GET", "/echo/open/x", bearer(KEYS["paths"])).status == 200
    for path in ("/echo/strict/x", "/echo/opem", "/v1/models/echo"):
        assert (answer := ask(site, "GET", path, bearer(KEYS["paths"]))).status == 403
        assert answer.error == 1102
    assert _chat(site, KEYS["paths"]).error == 1102


def test_an_unknown_model_costs_nothing(site: Gateway) -> None:
    answer = _chat(site, KEYS["second"], "nothing-like-it")
    assert (answer.status, answer.error, answer.json["error"]["code"]) == (404, 1302, "model_not_found")
    row = row_of(site, answer.request_id)
    assert (row["outcome"], row["units"], row["tokens_source"]) == ("turned_away", 0, "none")


def test_the_model_is_renamed_for_its_server(site: Gateway) -> None:
    answer = _chat(site, KEYS["second"], "renamed")
    assert answer.json["model"] == "as-the-engine-says"
    row = row_of(site, answer.request_id)
    assert (row["model_asked"], row["model"]) == ("renamed", "renamed")


def test_s10_every_path_wants_a_key_but_those_that_say_so(site: Gateway) -> None:
    for path in ("/", "/nothing", "/v1/models", "/v1/models/echo", "/fault/ok", "/metrics", "/health", "/v1/echo/ws"):
        assert ask(site, "GET", path).error == 1001, path
    for path in ("/read/echo", "/errors/1001", "/echo/x"):
        assert ask(site, "GET", path).status == 200, path
    assert ask(site, "GET", "/nothing", bearer(KEYS["second"])).error == 1301


def _used(site: Gateway) -> int:
    """Units that acme's month holds, this request's own among them."""
    time.sleep(0.4)  # a lease that lies idle goes back after 0.2 s
    answer = ask(site, "GET", "/echo/strict/x", bearer(KEYS["second"]))
    return 10_000_000 - int(answer.get("x-quota-monthly-remaining") or 0)


def _kept(site: Gateway) -> Any:
    return site.query("SELECT sum(units) / 1000 AS units FROM requests WHERE consumer = 'acme'")[0]["units"]


def test_parallel_requests_of_one_id_are_charged_each(site: Gateway) -> None:
    before = _used(site)
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: _chat(site, KEYS["second"], **{"X-Request-ID": "the-same"}), range(100)))
    assert {(answer.status, answer.get("x-request-id")) for answer in answers} == {(200, "the-same")}
    count = "SELECT count(DISTINCT id) AS rows FROM requests WHERE request_id = 'the-same'"
    eventually(lambda: site.query(count)[0]["rows"] == 100, what="a row of each")
    after = _used(site)
    assert after - before == 101
    eventually(lambda: _kept(site) == after, what="the store says what the month says")

"""The admin address of a running gateway, as an operator's scripts use it."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.wire import CHAT, ask, bearer
from tests.harness import COMMAND, Gateway, config, eventually, is_alive, running_gateway


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)["data"]

    @property
    def error(self) -> int:
        number = json.loads(self.body)["error"]["number"]
        assert self.headers["x-tollkeeper-error"] == str(number)
        assert self.headers["x-request-id"] == json.loads(self.body)["meta"]["request_id"]
        return int(number)


class Operator:
    """Somebody with an admin key."""

    def __init__(self, address: str, key: str) -> None:
        self.address = address
        self.key = key

    @contextlib.contextmanager
    def line(self) -> Iterator[http.client.HTTPConnection]:
        with contextlib.closing(http.client.HTTPConnection(self.address, timeout=60)) as line:
            yield line

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        with self.line() as line:
            content = None if body is None else json.dumps(body)
            given = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
            line.request(method, path, content, given | {name.replace("_", "-"): one for name, one in headers.items()})
            answer = line.getresponse()
            return Reply(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())


def operator_of(gateway: Gateway) -> Operator:
    return Operator(gateway.status()["admin"], gateway.admin_key)


@pytest.fixture(scope="module")
def site() -> Iterator[Gateway]:
    with running_gateway(config(), environment={"HF_HUB_OFFLINE": "1"}) as gateway:
        yield gateway


@pytest.fixture
def operate(site: Gateway) -> Operator:
    return operator_of(site)


def test_status(site: Gateway, operate: Operator) -> None:
    answer = operate("GET", "/admin/status", X_Request_ID="mine")
    assert answer.data["pid"] == site.pid
    assert answer.headers["x-request-id"] == "mine"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["server"] == "tollkeeper"


def test_the_key_is_the_owners_and_stays(site: Gateway) -> None:
    path = site.state / "admin.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(path.read_text().strip()) > 40
    site.reload()
    assert operator_of(site)("GET", "/admin/status").status == 200


def test_no_key_of_the_proxys_opens_it_and_it_opens_nothing_there(site: Gateway, operate: Operator) -> None:
    assert operate("GET", "/admin/status", Authorization=f"Bearer {site.key('open')}").error == 1002
    assert operate("GET", "/admin/status", Authorization="").error == 1001
    assert ask(site, "GET", "/v1/models", bearer(operate.key)).status == 401
    assert ask(site, "GET", "/admin/status", bearer(site.key("open"))).error == 1301


def test_pages_of_elsewhere_are_refused(operate: Operator) -> None:
    assert operate("GET", "/admin/status", Host="evil.example").error == 1202
    assert operate("POST", "/admin/reload", Origin="https://evil.example").error == 1103


def test_traces_of_everybody(site: Gateway, operate: Operator) -> None:
    body = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "hi"}]}).encode()
    for tier in ("free", "open"):
        assert ask(site, "POST", CHAT, bearer(site.key(tier)), body).status == 200

    def seen() -> bool:
        rows = operate("GET", "/api/v1/traces?model=echo").data
        return {row["consumer"] for row in rows} >= {"demo-free", "demo-open"}

    eventually(seen, 20.0, "traces of both")


def test_a_consumer_and_a_key_live_and_end(site: Gateway, operate: Operator) -> None:
    assert operate("GET", "/admin/consumers/bob").error == 1303
    assert operate("PUT", "/admin/consumers/bob", {"tier": "no-such-tier"}).error == 1401
    assert operate("PUT", "/admin/consumers/bob", {"tier": "free"}).data["tier"] == "free"
    made = operate("POST", "/admin/keys", {"consumer": "bob", "models": ["echo"]})
    assert (made.status, made.headers["cache-control"]) == (201, "no-store")
    key, id = made.data["key"], made.data["id"]
    assert ask(site, "GET", "/v1/models", bearer(key)).status == 200
    shown = operate("GET", "/admin/keys?consumer=bob")
    assert [one["id"] for one in shown.data] == [id] and key.encode() not in shown.body
    successor = operate("POST", f"/admin/keys/{id}/rotate", {"overlap": 0}).data
    assert operate("POST", f"/admin/keys/{id}/rotate").error == 1401
    eventually(lambda: ask(site, "GET", "/v1/models", bearer(key)).status == 401, what="the old key ends")
    assert ask(site, "GET", "/v1/models", bearer(successor["key"])).status == 200
    assert operate("DELETE", f"/admin/keys/{successor['id']}").data["consumer"] == "bob"
    eventually(lambda: ask(site, "GET", "/v1/models", bearer(successor["key"])).status == 401, what="the new one too")
    assert operate("DELETE", "/admin/consumers/bob").data["name"] == "bob"
    assert operate("DELETE", "/admin/consumers/demo-free").error == 1401  # the file's


def test_lists_go_on_where_a_page_ended(operate: Operator) -> None:
    names, cursor = [], ""
    while True:
        page = json.loads(operate("GET", f"/admin/consumers?limit=1&cursor={cursor}").body)
        names += [row["name"] for row in page["data"]]
        cursor = page["pagination"]["cursor"]
        if not page["pagination"]["has_more"]:
            break
    assert names == sorted(names) and {"demo-free", "demo-open"} <= set(names)


def test_engines_and_models(operate: Operator) -> None:
    assert [engine["id"] for engine in operate("GET", "/admin/engines").data] == ["echo"]
    assert operate("GET", "/admin/engines/nothing").error == 1303
    assert operate("POST", "/admin/models/unload", {"model": "echo"}).data["status"] == "unloaded"
    assert operate("POST", "/admin/models/load", {"model": "echo"}).data["status"] == "loaded"
    assert operate("GET", "/admin/engines/echo").data["state"] == "ready"
    assert operate("POST", "/admin/models/load", {"model": "nothing"}).error == 1302
    assert operate("POST", "/admin/models/load", {}).error == 1213


def test_what_an_engine_prints_is_followed(operate: Operator) -> None:
    lines = eventually(lambda: operate("GET", "/admin/engines/echo/logs?lines=1").data["lines"], 20.0, "a line")
    assert len(lines) == 1 and "echo engine" in lines[0]
    with operate.line() as line:
        line.request(
            "GET", "/admin/engines/echo/logs?follow=true&lines=1", headers={"Authorization": f"Bearer {operate.key}"}
        )
        answer = line.getresponse()
        assert answer.getheader("Content-Type") == "text/event-stream"
        assert lines[0] in next_line(answer)
        operate("POST", "/admin/models/unload", {"model": "echo"})
        operate("POST", "/admin/models/load", {"model": "echo"})  # it prints where it listens
        assert "echo engine" in next_line(answer)


def next_line(answer: http.client.HTTPResponse) -> str:
    """The next event's data; comments between events say that there is none."""
    while not (line := answer.readline().decode()).startswith("data: "):
        assert line, "the stream has ended"
    return line


def test_a_pull_that_fails_says_why(operate: Operator) -> None:
    """The hub is out of reach here; what a pull does there is tested with `models pull`."""
    began = operate("POST", "/admin/models/pull", {"model": "lab/tiny"})
    assert (began.status, began.data["state"]) == (202, "running")
    with operate.line() as line:
        line.request(
            "GET", f"/admin/pulls/{began.data['id']}/events", headers={"Authorization": f"Bearer {operate.key}"}
        )
        events = line.getresponse().read().decode()
    assert "event: done\n" in events and "offline" in events
    pull = operate("GET", f"/admin/pulls/{began.data['id']}").data
    assert pull["state"] == "failed" and "offline" in pull["error"]
    assert operate("GET", "/admin/pulls").data[0]["id"] == pull["id"]
    assert operate("DELETE", f"/admin/pulls/{pull['id']}").data["state"] == "failed"
    assert operate("GET", "/admin/pulls/nothing").error == 1303
    assert operate("POST", "/admin/models/pull", {"model": "../../etc"}).error == 1214


def test_a_reload_and_a_bad_one(site: Gateway, operate: Operator) -> None:
    before = operate("GET", "/admin/status").data["generations"][-1]["number"]
    assert operate("POST", "/admin/reload").data["generation"] == before + 1
    text = site.file.read_text()
    site.file.write_text("tierz: {}")
    refused = operate("POST", "/admin/reload")
    site.file.write_text(text)
    assert refused.error == 1401 and b"did you mean `tiers`" in refused.body
    assert operate("POST", "/admin/reload").status == 200


def test_the_address_outlives_control(site: Gateway, operate: Operator) -> None:
    """Whoever calls while it is started again waits, and is answered."""
    pid = site.control_pid()
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not is_alive(pid), 20.0, "control gone")
    assert operate("GET", "/admin/status").status == 200


def test_who_guesses_is_refused(site: Gateway, operate: Operator) -> None:
    """Until control is started again: there is one clock for all of a minute."""
    statuses = [operate("GET", "/admin/status", Authorization="Bearer wrong").status for _ in range(11)]
    assert statuses[-1] == 429 and set(statuses[:-1]) <= {401, 429}
    assert operate("GET", "/admin/status").error == 1508
    assert "a wrong admin key from 127.0.0.1" in site.log
    os.kill(site.control_pid(), signal.SIGKILL)
    eventually(lambda: operate("GET", "/admin/status").status == 200, 20.0, "control again")


def test_a_drain_ends_it() -> None:
    with running_gateway(config()) as gateway:
        assert operator_of(gateway)("POST", "/admin/drain").status == 202
        assert gateway.process.wait(30) == 0


def test_a_key_of_the_files_own_and_an_address_that_is_taken(tmp_path: Path) -> None:
    document = config(admin={"key": "${ADMIN_KEY}"})
    with running_gateway(document, folder=tmp_path, environment={"ADMIN_KEY": "a-key-of-the-operators"}) as gateway:
        assert not (gateway.state / "admin.key").exists()
        address = gateway.status()["admin"]
        assert Operator(address, "a-key-of-the-operators")("GET", "/admin/status").status == 200
        listen = {"proxy": "127.0.0.1:0", "status": "127.0.0.1:0", "admin": address}
        (tmp_path / "second.yaml").write_text(
            json.dumps({"listen": listen, "state": {"directory": str(tmp_path / "2")}})
        )
        second = subprocess.run(
            [*COMMAND, "serve", str(tmp_path / "second.yaml")], capture_output=True, text=True, timeout=60, check=False
        )
        assert second.returncode == 3
        assert f"{address} is taken" in second.stderr and "`listen.admin`" in second.stderr

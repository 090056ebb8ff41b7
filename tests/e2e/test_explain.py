"""`tollkeeper explain` tells the truth: for each situation what it says is what a real request then gets."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.rehearsed import Case, compare, explain, perform
from tests.e2e.wire import CHAT, ask, row_of
from tests.extension import write_plugin
from tests.faults.address import refused
from tests.harness import COMMAND, Document, Gateway, config, eventually, running_gateway

EXPIRED = "2020-01-01"
GOOD, EVIL = "https://good.example", "https://evil.example"
TURNS = [{"role": "user", "content": "hi"}]
DUD = """
from gateway.backend import BaseBackend, BaseSettings, Launch

class Settings(BaseSettings, frozen=True):
    pass

class Backend(BaseBackend[Settings]):
    def launch(self, port):
        return Launch(("/bin/false",))
"""
HOLDERS: dict[str, dict[str, Any]] = {
    "plain": {"tier": "open"},
    "expired": {"tier": "open"},
    "models": {"tier": "open", "models": ["other*"]},
    "routes": {"tier": "open", "routes": ["/v1/models*"]},
    "counted": {"tier": "counted"},
    "hurried": {"tier": "slow"},
    "spent": {"tier": "month"},
    "small": {"tier": "small"},
}


def _key(name: str) -> str:
    return f"key-of-{name}-0001" if name else ""


def _consumers() -> Document:
    consumers = {}
    for name, holder in HOLDERS.items():
        key = {"key": f"${{KEY_{name.upper()}}}"}
        consumers[name] = {**holder, "keys": [key | ({"expires": EXPIRED} if name == "expired" else {})]}
    return consumers


def _document(dead: int, **changes: Any) -> Document:
    return config(
        demo=False,
        limits={"body": "20KB", "json_depth": 20},
        tiers={
            "open": {"rate": "unlimited"},
            "counted": {"rate": "100/min", "monthly": 100_000},
            "slow": {"rate": "1/h", "burst": 1},
            "month": {"monthly": 1},
            "small": {"rate": "100/min", "burst": 2},
            "anonymous": {"rate": "1000/min", "by": "ip"},
        },
        consumers=_consumers(),
        backends={
            "echo": {"echo": {}, "slots": 8},
            "dead": {"http": {"endpoints": [{"url": f"http://127.0.0.1:{dead}"}],
                              "health": {"path": "/", "interval": "100ms", "timeout": "100ms", "unhealthy": 1}}},
        } | changes.pop("backends", {}),
        models={
            "echo": {"backend": "echo"}, "alias": {"alias": "echo"}, "dear": {"backend": "echo", "cost": 5},
            "dead": {"backend": "dead"},
            "spare": {"backend": "dead", "fallback": ["dead", "echo"]},
            "proud": {"backend": "dead", "fallback": {"to": ["echo"], "on": ["timeout"]}},
        } | changes.pop("models", {}),
        plugins=[{"cors": {"origins": [GOOD]}}, "key_auth", "quota"],
        routes=[
            {"path": CHAT},
            {"path": "/free", "to": "echo", "strip": "/free", "cost": 0},
            {"path": "/open/*", "to": "echo", "auth": "none", "strip": "/open"},
            {"path": "/maybe", "to": "echo", "auth": "optional"},
            {"path": "/echo", "to": "echo", "methods": ["GET"]},
            {"path": "/v1/echo/ws", "to": "echo"},
        ],
        **changes,
    )  # fmt: skip


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with ExitStack() as stack:
        dead = stack.enter_context(refused())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = write_plugin(folder, "dud", DUD, "backends")
        environment |= {f"KEY_{name.upper()}": _key(name) for name in HOLDERS}
        gateway = stack.enter_context(running_gateway(_document(dead), environment=environment))
        gateway.reload(_document(dead, backends={"dud": {"dud": {}}}, models={"dud": {"backend": "dud"}}))
        eventually(lambda: gateway.status()["engines"]["dud"]["state"] == "failed", 15, "an engine that has failed")
        eventually(lambda: gateway.status()["endpoints_down"].get("dead"), what="an endpoint that is down")
        for name in ("hurried", "spent"):
            assert ask(gateway, "GET", "/echo", {"x-api-key": _key(name)}).status == 200
        yield gateway
        gateway.reload(_document(dead))


def _chat(number: int, key: str, model: Any = "echo", **fields: Any) -> Case:
    body = {"model": model, "messages": TURNS, **fields}
    return Case(number, "POST", CHAT, _key(key), json.dumps({k: v for k, v in body.items() if v is not None}).encode())


def _raw(number: int, body: bytes, **headers: str) -> Case:
    return Case(number, "POST", CHAT, _key("plain"), body, {name.replace("_", "-"): v for name, v in headers.items()})


PREFLIGHT = {"Origin": GOOD, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "x-a"}
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
           "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
CASES = {
    "good": _chat(0, "plain"),
    "counted": _chat(0, "counted"),
    "streamed": _chat(0, "counted", stream=True),
    "alias": _chat(0, "counted", "alias"),
    "no key": _chat(1001, ""),
    "bad key": Case(1002, "GET", "/echo", "", b"", {"x-api-key": "nobody-has-this-key"}),
    "expired key": _chat(1003, "expired"),
    "two keys": Case(1004, "GET", "/echo", _key("plain"), b"", {"x-api-key": "another-key-0001"}),
    "empty key": Case(1005, "GET", "/echo", "", b"", {"Authorization": "Bearer"}),
    "model out of scope": _chat(1101, "models"),
    "route out of scope": _chat(1102, "routes"),
    "route in scope": Case(0, "GET", "/v1/models", _key("routes")),
    "rate used up": Case(1501, "GET", "/echo", _key("hurried")),
    "month used up": Case(1502, "GET", "/echo", _key("spent")),
    "dearer than the burst": _chat(1503, "small", "dear"),
    "exempt": Case(0, "GET", "/free", _key("hurried")),
    "anonymous": Case(0, "GET", "/maybe"),
    "anonymous with a bad key": Case(1002, "GET", "/maybe", "", b"", {"x-api-key": "nobody-has-this-key"}),
    "without auth": Case(0, "GET", "/open/echo"),
    "without auth, with a bad key": Case(0, "GET", "/open/echo", "", b"", {"x-api-key": "nobody-has-this-key"}),
    "preflight": Case(0, "OPTIONS", CHAT, "", b"", PREFLIGHT),
    "preflight of a stranger": Case(0, "OPTIONS", CHAT, "", b"", {**PREFLIGHT, "Origin": EVIL}),
    "origin": Case(0, "GET", "/echo", _key("counted"), b"", {"Origin": GOOD}),
    "origin, refused": Case(1001, "GET", "/echo", "", b"", {"Origin": GOOD}),
    "websocket of a stranger": Case(1103, "GET", "/v1/echo/ws", _key("plain"), b"", {"Origin": EVIL, **UPGRADE}),
    "unknown path": Case(1301, "GET", "/nothing/here", _key("plain")),
    "unknown path, counted": Case(1301, "GET", "/nothing/here", _key("counted")),
    "unknown path without a key": Case(1001, "GET", "/nothing/here"),
    "wrong method": Case(1207, "POST", "/echo", _key("plain"), b"x"),
    "wrong method without a key": Case(1001, "POST", "/echo", "", b"x"),
    "no method of ours": Case(1207, "PROPFIND", "/echo", _key("plain")),
    "path with a backslash": Case(1205, "GET", "/echo\\x", _key("plain")),
    "encoded slash": Case(1205, "GET", "/echo%2fx", _key("plain")),
    "no JSON": _raw(1210, b"not json"),
    "duplicate field": _raw(1211, b'{"model":"echo","model":"x","messages":[]}'),
    "too deep": _raw(1212, b'{"model":"echo","messages":' + b"[" * 40 + b"]" * 40 + b"}"),
    "no model": _chat(1213, "plain", None),
    "model of a wrong type": _chat(1214, "plain", 7),
    "model with strange letters": _chat(1214, "plain", "a model\n"),
    "too large": _raw(1208, b'{"model":"echo","x":"' + b"x" * 21_000 + b'"}'),
    "compressed": _raw(1215, b"\x1f\x8b", Content_Encoding="gzip"),
    "expectation": _raw(1217, b"{}", Expect="a-miracle"),
    "unknown model": _chat(1302, "plain", "nope"),
    "unknown model, counted": _chat(1302, "counted", "nope"),
    "backend down": _chat(1706, "counted", "dead"),
    "backend down, fallen back": _chat(0, "counted", "spare"),
    "backend down, no reason to fall back": _chat(1706, "counted", "proud"),
    "engine failed": _chat(1708, "counted", "dud"),
    "models": Case(0, "GET", "/v1/models", _key("plain")),
    "one model": Case(0, "GET", "/v1/models/echo", _key("plain")),
    "no such model's page": Case(1302, "GET", "/v1/models/nope", _key("plain")),
    "models' heads": Case(0, "HEAD", "/v1/models", _key("plain")),
    "models without a key": Case(1001, "GET", "/v1/models"),
    "error's page": Case(0, "GET", "/errors/1501"),
    "no error's page": Case(1303, "GET", "/errors/9999"),
    "request id": Case(0, "GET", "/echo", _key("plain"), b"", {"X-Request-ID": "mine-1"}),
    "bad request id": Case(0, "GET", "/echo", _key("plain"), b"", {"X-Request-ID": "a b"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_explained_is_what_happens(gateway: Gateway, name: str) -> None:
    compare(gateway, CASES[name])


def test_nothing_is_charged_and_no_row_is_left(gateway: Gateway) -> None:
    case = CASES["counted"]._replace(headers={"X-Request-ID": "only-explained"})
    left = [_left(explain(gateway, case)) for _ in range(5)]
    assert len(set(left)) == 1
    answer = perform(gateway, CASES["counted"])
    assert answer.get("x-quota-monthly-remaining") == left[0]
    row_of(gateway, answer.request_id)  # what came before it would be stored by now
    assert not gateway.query("SELECT 1 FROM requests WHERE request_id = 'only-explained'")


def _left(told: Any) -> str:
    (line,) = (line for line in told["headers"] if line.startswith("X-Quota-Monthly-Remaining"))
    return str(line.partition(": ")[2])


def test_it_tells_where_a_request_would_go(gateway: Gateway) -> None:
    told = explain(gateway, CASES["alias"])
    assert (told["consumer"], told["tier"], told["route"], told["cost"]) == ("counted", "counted", CHAT, 1.0)
    assert told["target"]["backend"] == "echo" and told["target"]["sent_as"] == "echo"
    assert told["target"]["engine"]["state"] == "ready"
    (endpoint,) = explain(gateway, CASES["backend down"])["target"]["endpoints"]
    assert endpoint["state"] == "down"


def test_it_tells_what_is_fallen_back_to(gateway: Gateway, run: Callable[..., Any]) -> None:
    place = explain(gateway, CASES["backend down, fallen back"])["target"]
    assert (place["model"], place["backend"], place["engine"]["state"]) == ("echo", "echo", "ready")
    assert place["instead_of"] == [{"model": "spare", "error": 1706}, {"model": "dead", "error": 1706}]
    assert place["fallback"]["to"] == ["dead", "echo"]
    assert "endpoints" not in place, "those of the model that was left"
    place = explain(gateway, CASES["backend down, no reason to fall back"])["target"]
    assert place["fallback"] == {"to": ["echo"], "on": ["timeout"]}
    done = run("--key", _key("counted"), "POST", CHAT, "--model", "spare")
    for words in (
        "instead of spare: error 1706",
        "falls back to: dead, echo (on context, error, ",
        "X-Tollkeeper-Fallback",
    ):
        assert words in done.stdout


# --- the command


@pytest.fixture
def run(gateway: Gateway) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "explain", "--state", str(gateway.state), *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, **options)

    return run


def test_the_command(run: Callable[..., Any]) -> None:
    done = run("--key", _key("counted"), "POST", CHAT, "--model", "echo")
    assert done.returncode == 0, done.stderr
    for words in ("key_auth", "quota", "backend echo", "cost: 1 unit\n", "what the model server says"):
        assert words in done.stdout
    done = run("POST", CHAT, "--model", "echo")
    assert done.returncode == 1 and "401, error 1001" in done.stdout


def test_the_key_comes_from_elsewhere(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run("--key", "-", "GET", "/echo", input=_key("plain") + "\n").returncode == 0
    monkeypatch.setenv("TOLLKEEPER_KEY", _key("plain"))
    done = run("GET", "/echo")
    assert done.returncode == 0 and _key("plain") not in done.stdout


def test_no_key_is_logged(gateway: Gateway) -> None:
    for case in (CASES["good"], CASES["bad key"], CASES["expired key"]):
        explain(gateway, case)
    assert not any(_key(name) in gateway.log for name in HOLDERS) and "nobody-has-this-key" not in gateway.log


def test_bodies_and_headers(run: Callable[..., Any], tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    body.write_text('{"model": "nope", "messages": []}')
    done = run("--key", _key("plain"), "POST", CHAT, "--body", f"@{body}", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["error"] == 1302
    done = run("--key", _key("plain"), "POST", CHAT, "--body", f"@{body}", "--model", "echo", "-H", f"Origin: {GOOD}")
    assert done.returncode == 0 and f"Access-Control-Allow-Origin: {GOOD}" in done.stdout
    for wrong in (
        ["--body", "@/no/such/file"],
        ["--body", "[1]", "--model", "m"],
        ["--header", "nonsense"],
        ["--peer", "me"],
    ):
        done = run(*wrong, "POST", CHAT)
        assert done.returncode == 2, done.stdout


def test_without_a_gateway_the_file_is_asked(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    document = config(
        demo=False,
        tiers={"free": {"rate": "100/min", "burst": 2, "monthly": 10}, "pro": {"rate": "1000/min"}},
        consumers={"acme": {"tier": "free", "keys": [{"key": "a-key-in-the-file"}]}},
        models={"echo": {"backend": "echo"}, "dear": {"backend": "echo", "cost": 3}},
        state={"directory": str(tmp_path / "var")},
    )
    file.write_text(yaml.safe_dump(document))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*COMMAND, "explain", "-c", str(file), "POST", CHAT, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=20)

    done = run("--key", "a-key-in-the-file", "--model", "echo")
    assert done.returncode == 0 and "no gateway runs here: told from" in done.stderr
    assert "X-Quota-Monthly-Remaining: 9" in done.stdout and "engine not running" in done.stdout
    done = run("--key", "a-key-in-the-file", "--model", "dear")
    assert done.returncode == 1 and "error 1503" in done.stdout
    done = run("--key", "a-key-of-nobody", "--model", "echo")
    assert done.returncode == 1 and "error 1002" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["gateway.yaml"]
    file.write_text("routes: 7\n")
    done = run()
    assert done.returncode in (1, 2) and "routes" in done.stderr

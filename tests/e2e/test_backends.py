"""Backends of every kind behind one gateway: servers of others, a command, and an engine of a third party."""

import json
import sys
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.e2e.sdk import chat, make_client
from tests.extension import write_plugin
from tests.harness import Gateway, config, eventually, running_gateway

ECHO = f"{sys.executable} -P -m backends.echo.server --port={{port}} --models={{name}}"
THEIRS = '''
"""An engine of a third party."""
import sys
from gateway.backend import BaseBackend, BaseSettings, Launch

class Settings(BaseSettings, frozen=True):
    names: tuple[str, ...]

class Backend(BaseBackend[Settings]):
    slots = 3

    def launch(self, port: int) -> Launch:
        names = ",".join(self.settings.names)
        return Launch((sys.executable, "-P", "-m", "backends.echo.server", f"--port={port}", f"--models={names}"))
'''
ANSWER = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "theirs",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "well"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}  # fmt: skip


class Host:
    """A server of somebody else's. `seen` are path, headers and JSON of what it was asked; `moved` is sent as a 307."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.moved = ""
        host = self

        class Page(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                host.seen.append((self.path, headers, json.loads(body or b"{}")))
                text = json.dumps(ANSWER).encode()
                self.send_response(307 if host.moved else 200)
                if host.moved:
                    self.send_header("Location", host.moved)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = Thread(target=self._server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def hosts() -> Iterator[dict[str, Host]]:
    hosts = {name: Host() for name in ("hosted", "router", "desk", "stranger")}
    yield hosts
    for host in hosts.values():
        host.close()


@pytest.fixture(scope="module")
def gateway(hosts: dict[str, Host]) -> Iterator[Gateway]:
    health = {"path": "/models", "interval": "100ms"}
    backends: dict[str, Any] = {
        "hosted": {"openai": {"url": f"{hosts['hosted'].url}/v1", "key": "${OUR_KEY}", "health": health}},
        "router": {"openai": {"url": f"{hosts['router'].url}/api/v1beta/openai", "organization": "org-ours"}},
        "desk": {"ollama": {"url": hosts["desk"].url, "health": None}},
        "mine": {"command": {"run": ECHO}, "slots": 2},
        "theirs": {"theirs": {"names": ["a", "b"]}},
    }
    models = {name: {"backend": name} for name in backends} | {"llama": {"backend": "desk", "name": "llama3.2:1b"}}
    routes = [{"path": "/v1/chat/completions"}, {"path": "/files/*", "to": "hosted"}]
    with tempfile.TemporaryDirectory() as folder:
        environment = write_plugin(Path(folder), "theirs", THEIRS, "backends") | {"OUR_KEY": "sk-ours"}
        document = config(backends=backends, models=models, routes=routes)
        with running_gateway(document, environment=environment) as gateway:
            yield gateway


def asked(host: Host) -> tuple[str, dict[str, str], Any]:
    """The last request but for health checks."""
    return next(request for request in reversed(host.seen) if request[2])


def test_a_hosted_server_gets_our_key_at_its_own_path(gateway: Gateway, hosts: dict[str, Host]) -> None:
    with make_client(gateway, organization="org-theirs", project="theirs") as client:
        assert chat(client, "hosted").choices[0].message.content == "well"
    path, headers, body = asked(hosts["hosted"])
    assert (path, headers["authorization"], body["model"]) == ("/v1/chat/completions", "Bearer sk-ours", "hosted")
    assert gateway.key("open") not in str(headers), "the client's key is nobody else's business"
    assert not {"openai-organization", "openai-project"} & headers.keys()


def test_our_paths_begin_where_the_url_ends(gateway: Gateway, hosts: dict[str, Host]) -> None:
    with make_client(gateway) as client:
        chat(client, "router")
    path, headers, _ = asked(hosts["router"])
    assert path == "/api/v1beta/openai/chat/completions"
    assert ("authorization" in headers, headers["openai-organization"]) == (False, "org-ours")


def test_ollama_is_asked_for_its_own_name_of_a_model(gateway: Gateway, hosts: dict[str, Host]) -> None:
    with make_client(gateway) as client:
        chat(client, "llama")
    path, _, body = asked(hosts["desk"])
    assert (path, body["model"]) == ("/v1/chat/completions", "llama3.2:1b")


def test_health_is_asked_with_the_key(gateway: Gateway, hosts: dict[str, Host]) -> None:
    checks = eventually(lambda: [request for request in hosts["hosted"].seen if not request[2]])
    assert {(path, headers["authorization"]) for path, headers, _ in checks} == {("/v1/models", "Bearer sk-ours")}


def test_s24_a_redirect_takes_no_key_anywhere(gateway: Gateway, hosts: dict[str, Host]) -> None:
    hosts["hosted"].moved = f"{hosts['stranger'].url}/v1/chat/completions"
    try:
        body = {"model": "hosted", "messages": [{"role": "user", "content": "x"}]}
        headers = {"Authorization": f"Bearer {gateway.key('open')}"}
        httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
        httpx.post(f"{gateway.url}/files/http://127.0.0.1/", json=body, headers=headers)
    finally:
        hosts["hosted"].moved = ""
    assert hosts["stranger"].seen == []


@pytest.mark.parametrize("model", ["mine", "theirs"])
def test_engines_that_somebody_else_wrote(gateway: Gateway, model: str) -> None:
    with make_client(gateway) as client:
        assert chat(client, model).choices[0].message.content == "one two three"
        assert "".join(c.choices[0].delta.content or "" for c in chat(client, model, stream=True)) == "one two three"
    engine = gateway.status()["engines"][model]
    assert (engine["state"], engine["slots"]) == ("ready", {"mine": 2, "theirs": 3}[model])

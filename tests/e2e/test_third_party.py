"""A package of somebody else, installed by pip as a user would: a backend and a plugin, found by their entry points."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.harness import COMMAND, Gateway, config, running_gateway

BACKEND = '''
"""A server of the same package."""
import pathlib
import sys
from gateway.backend import BaseBackend, BaseSettings, Launch

class Settings(BaseSettings, frozen=True):
    word: str

class Backend(BaseBackend[Settings]):
    slots = 2

    def launch(self, port: int) -> Launch:
        server = pathlib.Path(__file__).with_name("server.py")
        return Launch((sys.executable, "-P", str(server), str(port), self.settings.word))
'''
SERVER = """
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        message = {"role": "assistant", "content": f"{sys.argv[2]} {asked['messages'][-1]['content']}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.answer({"id": "c", "object": "chat.completion", "model": asked["model"], "choices": [choice]})

    def do_GET(self):
        self.answer({})

    def answer(self, document):
        text = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
"""
PLUGIN = '''
"""Refuses a word, and stamps what it lets through."""
from gateway.errors import GatewayError
from gateway.plugin import BasePlugin, BaseSettings

class Settings(BaseSettings, frozen=True):
    banned: str

class Plugin(BasePlugin[Settings]):
    needs = "body"

    def access(self, exchange):
        if self.settings.banned.encode() in (exchange.body or b""):
            raise GatewayError(1214, "That word is banned here.", param="messages")
        exchange.set_header("X-Acme-Stamp", "seen")
'''
ABOUT = {
    "METADATA": "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "entry_points.txt": (
        "[tollkeeper.backends]\nacme_engine = acme.engine\n\n[tollkeeper.plugins]\nacme_ban = acme.ban\n"
    ),
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("acme")
    files = {"acme/__init__.py": "", "acme/engine.py": BACKEND, "acme/server.py": SERVER, "acme/ban.py": PLUGIN}
    files |= {f"acme-1.0.dist-info/{name}": text for name, text in ABOUT.items()}
    files["acme-1.0.dist-info/RECORD"] = "".join(f"{name},,\n" for name in (*files, "acme-1.0.dist-info/RECORD"))
    wheel = folder / "acme-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    target = folder / "site"
    pip = [sys.executable, "-m", "pip", "--isolated", "--disable-pip-version-check", "install", "--quiet", "--no-index"]
    subprocess.run([*pip, "--no-deps", "--no-cache-dir", "--target", target, wheel], check=True, timeout=120)
    return target


@pytest.fixture(scope="module")
def gateway(installed: Path) -> Iterator[Gateway]:
    document = config(
        backends={"theirs": {"acme_engine": {"word": "well,"}}},
        models={"m": {"backend": "theirs"}},
        plugins=["key_auth", {"acme_ban": {"banned": "xyzzy"}}, "quota"],
        routes=[{"path": "/v1/chat/completions"}],
    )
    with running_gateway(document, environment={"PYTHONPATH": str(installed)}) as gateway:
        yield gateway


def ask(gateway: Gateway, text: str) -> httpx.Response:
    body = {"model": "m", "messages": [{"role": "user", "content": text}]}
    headers = {"Authorization": f"Bearer {gateway.key('open')}"}
    return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=30)


def test_both_are_used(gateway: Gateway) -> None:
    answer = ask(gateway, "hello")
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"] == "well, hello"
    assert answer.headers["x-acme-stamp"] == "seen"
    engine = gateway.status()["engines"]["theirs"]
    assert (engine["state"], engine["slots"]) == ("ready", 2)
    refused = ask(gateway, "say xyzzy")
    assert (refused.status_code, refused.json()["error"]["message"]) == (400, "That word is banned here.")


def test_their_settings_are_checked_and_in_the_schema(installed: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        shell = {**os.environ, "PYTHONPATH": str(installed)}
        done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60, env=shell)
        return done.stdout + done.stderr

    file = tmp_path / "gateway.yaml"
    file.write_text("backends: {a: {acme_engine: {wrod: x}}}\n")
    assert "unknown key `wrod`, did you mean `word`?" in run("check", str(file))
    file.write_text("backends: {a: {acme_engin: {word: x}}}\n")
    assert "did you mean `acme_engine`?" in run("check", str(file))
    schema = run("schema")
    assert '"backend.acme_engine"' in schema and '"plugin.acme_ban"' in schema

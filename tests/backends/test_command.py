"""Any server that a command line starts: its words, its placeholders, and one that really runs."""

import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.loader import load_backend
from gateway.settings.problem import ConfigError
from tests.backends.running import find_url, start_engine


def load(run: str, **settings: Any) -> Any:
    return load_backend("mine", "command", {"run": run} | settings)


def test_words_and_placeholders() -> None:
    run = "serve --at 127.0.0.1:{port} --title '{name} of ours' {model} '{\"depth\": 2}'"
    launch = load(run, model="a b; rm -rf /", environment={"PORT": "{port}"}).launch(8123)
    assert launch.argv == (
        "serve", "--at", "127.0.0.1:8123", "--title", "mine of ours", "a b; rm -rf /", '{"depth": 2}',
    )  # fmt: skip
    assert launch.environment == {"PORT": "8123"}
    assert (launch.ready, launch.alive) == ("/health", "/health")


def test_paths_usage_and_times() -> None:
    backend = load("x {port}", health="/ready", alive="/ping", usage=False, start="1m", stop="1s")
    assert (backend.launch(1).ready, backend.launch(1).alive) == ("/ready", "/ping")
    assert (backend.reports_usage, backend.start_timeout, backend.stop_timeout) == (False, 60, 1)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"run": ""}, "is empty"),
        ({"run": "x '{port}"}, "cannot be cut"),
        ({"run": "x --port 8000"}, "must tell the program where to listen"),
        ({"run": "x {port} {model}"}, "say which by `model`"),
        ({"run": "x {port}", "health": "health"}, "must begin with /"),
    ],
)
def test_what_is_refused(settings: dict[str, str], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        load_backend("mine", "command", settings)


def test_a_program_that_is_not_there() -> None:
    assert "no-such-program is not here" in load("no-such-program {port}").problems()[0]
    assert load(f"{sys.executable} {{port}}").problems() == []


async def test_s45_no_shell_ever_sees_it(tmp_path: Path) -> None:
    """A server whose arguments look like commands runs, hears them as they are, and nothing else happens."""
    trap = tmp_path / "trap"
    server = tmp_path / "server.py"
    server.write_text(
        "import json, sys, http.server as h\n"
        "class Page(h.BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        text = json.dumps(sys.argv[2:]).encode()\n"
        "        self.send_response(200); self.send_header('Content-Length', str(len(text))); self.end_headers()\n"
        "        self.wfile.write(text)\n"
        "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), Page).serve_forever()\n"
    )
    words = f"$(touch {trap}) ;touch {trap} | `touch {trap}` && touch {trap}"
    backend = load(f"{sys.executable} {server} {{port}} {words!r} {words}", stop="1s")
    async with start_engine(backend, tmp_path) as engine, httpx.AsyncClient() as client:
        heard = (await client.get(await find_url(engine))).json()
    assert heard == [words, *words.split()]
    assert not trap.exists()

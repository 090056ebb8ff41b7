"""`tollkeeper check --ask`: real servers are asked which models they have."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner

from gateway.cli import tollkeeper

MODELS = {"data": [{"id": "small", "object": "model"}, {"id": "large"}]}


class Server:
    """Answers GET with `status` and `text`; `seen` are the requests."""

    def __init__(self) -> None:
        self.status, self.text = 200, json.dumps(MODELS)
        self.seen: list[tuple[str, str]] = []
        self.port = 0

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append((request.path, request.headers.get("Authorization", "")))
        return web.Response(status=self.status, text=self.text, headers={"Location": "/elsewhere"})


@pytest.fixture
def server() -> Iterator[Server]:
    """In a thread: the command runs an event loop of its own."""
    server, loop = Server(), asyncio.new_event_loop()
    app = web.Application()
    app.router.add_get("/{path:.*}", server.answer)
    runner = web.AppRunner(app)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
    server.port = runner.addresses[0][1]
    thread = Thread(target=loop.run_forever)
    thread.start()
    yield server
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(5)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def check(folder: Path, backends: dict[str, Any], **models: Any) -> tuple[int, list[str]]:
    routes = [{"path": "/v1/chat/completions", "auth": "none"}]
    file = folder / "gateway.yaml"
    file.write_text(
        json.dumps({"backends": backends, "models": models or {"*": {"backend": "desk"}}, "routes": routes})
    )
    told = CliRunner().invoke(tollkeeper, ["check", "--ask", str(file)])
    lines = [line.removeprefix(f"{file}:1: ") for line in told.stderr.splitlines()]
    return told.exit_code, [line for line in lines if line.partition(": ")[2].startswith(("backends.", "models."))]


def test_what_is_there_and_what_is_not(server: Server, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{server.port}"
    backends = {"hosted": {"openai": {"url": f"{url}/v1", "key": "sk-1"}}, "desk": {"ollama": {"url": url}}}
    code, told = check(
        tmp_path, backends, small={"backend": "hosted"}, other={"backend": "desk", "name": "large"},
        tiny={"backend": "hosted"}, both={"alias": "small"}, **{"l*": {"backend": "desk"}},
    )  # fmt: skip
    assert code == 0
    assert [line for line in told if "plain text" not in line] == [
        "note: backends.hosted: has the models large, small",
        "warning: models.tiny: hosted has no model 'tiny'",
        "note: backends.desk: has the models large, small",
    ]
    assert sorted(server.seen) == [("/v1/models", ""), ("/v1/models", "Bearer sk-1")]


@pytest.mark.parametrize(
    ("status", "text", "told"),
    [
        (401, "{}", "it answers 401"),
        (302, "", "it answers 302"),
        (200, "<html>", "its answer is no list of models as OpenAI gives it"),
        (200, '{"data": [1]}', "its answer is no list of models as OpenAI gives it"),
    ],
)
def test_servers_that_do_not_tell(server: Server, tmp_path: Path, status: int, text: str, told: str) -> None:
    server.status, server.text = status, text
    code, lines = check(tmp_path, {"desk": {"ollama": {"url": f"http://127.0.0.1:{server.port}"}}})
    assert (code, lines) == (0, [f"warning: backends.desk: cannot be asked for its models: {told}"])
    assert len(server.seen) == 1


def test_nobody_there(tmp_path: Path) -> None:
    code, (line,) = check(tmp_path, {"desk": {"ollama": {"url": "http://127.0.0.1:1"}}})
    assert code == 0
    assert "cannot be asked for its models: Cannot connect" in line

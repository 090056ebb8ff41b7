"""llama.cpp's own server: its description, and the real one where it was built."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from backends.llama_cpp import native
from gateway.backend import Blame
from gateway.engines.process import Engine
from gateway.loader import load_backend
from tests.backends.running import ask, check_key, find_key, find_url, start_engine


def test_settings_become_arguments() -> None:
    raw = {
        "model": "x.gguf", "server": "native", "binary": "/opt/llama-server", "context": 512, "parallel": 4,
        "threads": 2, "gpu_layers": -1, "chat_format": "chatml",
    }  # fmt: skip
    backend = load_backend("tiny", "llama_cpp", raw)
    launch = backend.launch(1234)
    assert launch is not None
    assert launch.argv == (
        "/opt/llama-server", "--model", "x.gguf", "--alias", "tiny", "--host", "127.0.0.1", "--port", "1234",
        "--ctx-size", "2048", "--parallel", "4", "--threads", "2", "--n-gpu-layers", "-1", "--chat-template", "chatml",
        "--no-webui", "--offline", "--no-slots", "--embeddings",
    )  # fmt: skip
    assert (launch.ready, launch.alive) == ("/health", "/health")
    assert (backend.slots, backend.reports_usage, backend.generates_after_leave) == (4, True, False)
    assert backend.stop_timeout < 5
    assert "the program /opt/llama-server is not here" in backend.problems()[0]


@pytest.mark.parametrize(("found", "is_native"), [("/bin/llama-server", True), ("", False)])
def test_the_native_one_is_preferred(monkeypatch: pytest.MonkeyPatch, found: str, is_native: bool) -> None:
    monkeypatch.setattr("backends.llama_cpp.native.find", lambda binary: found)
    backend = load_backend("tiny", "llama_cpp", {"model": "x.gguf"})
    launch = backend.launch(1)
    assert launch is not None
    assert (launch.argv[0] == found) == is_native
    assert backend.slots == (2 if is_native else 1)


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    if not native.find("llama-server"):
        pytest.skip("not built: sh backends/llama_cpp/build_server.sh")
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    model = str(tmp_path / "tiny.gguf")
    tiny.write_model(model, layers=3, ffn=6144, endless=True)
    backend = load_backend("tiny", "llama_cpp", {"model": model, "server": "native"})
    async with start_engine(backend, tmp_path) as engine:
        yield engine


@pytest.mark.llama
async def test_answers(engine: Engine) -> None:
    url = await find_url(engine)
    client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, default_headers=find_key(engine))
    async with client:
        asked: Any = ask(12)
        answer = await client.chat.completions.create(model="tiny", **asked)
        text = answer.choices[0].message.content
        assert text == "A short pause follows each failed attempt, and the gateway accepts"
        stream = await client.chat.completions.create(
            model="tiny", stream=True, stream_options={"include_usage": True}, **asked
        )
        events = [event async for event in stream]
        assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == text
        assert events[-1].usage is not None
        assert events[-1].usage.completion_tokens == 12
        embeddings = await client.embeddings.create(model="tiny", input=["one", "two"], encoding_format="float")
        assert [len(item.embedding) for item in embeddings.data] == [512, 512]


@pytest.mark.llama
async def test_works_on_two_requests_at_once_and_answers_probes(engine: Engine) -> None:
    async with httpx.AsyncClient(base_url=await find_url(engine), headers=find_key(engine), timeout=60) as client:
        long = asyncio.ensure_future(client.post("/v1/chat/completions", json=ask(1900)))
        await asyncio.sleep(0.2)
        assert (await client.get("/health", timeout=2)).status_code == 200
        assert (await client.post("/v1/chat/completions", json=ask(1))).status_code == 200
        assert not long.done(), "the short one was to run beside it"
        long.cancel()  # it takes seconds, and ends with its client
        with contextlib.suppress(asyncio.CancelledError):
            await long


@pytest.mark.llama
async def test_blame_knows_its_errors(engine: Engine) -> None:
    async with httpx.AsyncClient(base_url=await find_url(engine), headers=find_key(engine)) as client:
        for mistake in ({"temperature": "hot"}, {"messages": "no"}, {"n_discard": -1}, {"grammar": "root ::= ((("}):
            assert (await client.post("/v1/chat/completions", json=ask(1, **mistake))).status_code == 400
        broken = await client.post("/v1/chat/completions", content=b'{"messages": [')
        assert broken.status_code == 500
        assert load_backend("x", "llama_cpp", {"model": "x"}).blame(500, broken.content) is Blame.CLIENT
        assert (await client.get("/slots")).status_code != 200  # it would show what others have asked


@pytest.mark.llama
async def test_f26_ends_in_time_with_a_request_in_flight(engine: Engine) -> None:
    """SIGTERM alone never ends it then."""
    async with httpx.AsyncClient(base_url=await find_url(engine), headers=find_key(engine), timeout=60) as client:
        working = asyncio.ensure_future(client.post("/v1/chat/completions", json=ask(2000)))
        await asyncio.sleep(0.1)
        assert not working.done()
        async with asyncio.timeout(native.STOP_TIMEOUT + 2):
            await engine.stop()
        with contextlib.suppress(httpx.HTTPError):
            await working


@pytest.mark.llama
async def test_s47_nobody_asks_without_the_key_of_this_start(engine: Engine) -> None:
    await check_key(engine)

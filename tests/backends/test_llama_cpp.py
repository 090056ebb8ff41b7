"""llama.cpp: its description, and the real engine with the tiny model where it is installed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.backend import Blame
from gateway.engines.process import Engine
from gateway.loader import load_backend
from tests.backends.running import ask, check_key, find_key, find_url, start_engine

PYTHON = {"model": "x.gguf", "server": "python"}
BACKEND = load_backend("tiny", "llama_cpp", PYTHON)


def test_never_interrupts_and_stays_on_loopback() -> None:
    launch = BACKEND.launch(1234)
    assert launch is not None
    assert {"--interrupt_requests=False", "--host=127.0.0.1", "--port=1234", "--model_alias=tiny"} <= {*launch.argv}
    assert not any("None" in argument for argument in launch.argv)
    assert (BACKEND.slots, BACKEND.reports_usage) == (1, False)


def test_settings_become_flags() -> None:
    raw = {
        "context": 512,
        "threads": 2,
        "gpu_layers": -1,
        "embedding": False,
        "chat_format": "chatml",
    }
    launch = load_backend("tiny", "llama_cpp", PYTHON | raw).launch(1)
    assert launch is not None
    expected = {"--n_ctx=512", "--n_threads=2", "--n_gpu_layers=-1", "--embedding=False", "--chat_format=chatml"}
    assert expected <= {*launch.argv}


def test_what_would_end_it_is_withheld_and_bounds_are_understood() -> None:
    assert "grammar" in BACKEND.withheld
    assert "grammar" not in load_backend("tiny", "llama_cpp", PYTHON | {"grammar": True}).withheld
    assert BACKEND.renamed == {"max_completion_tokens": "max_tokens"}
    assert BACKEND.generates_after_leave


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "cannot be read: No such file"),
        (b"", "is not a GGUF file: it begins with b''"),
        (b"version https://git-lfs.github.com/spec/v1", "it begins with b'vers'"),
    ],
)
def test_problems_with_the_model(tmp_path: Path, content: bytes | None, problem: str) -> None:
    path = tmp_path / "model.gguf"
    if content is not None:
        path.write_bytes(content)
    problems = load_backend("tiny", "llama_cpp", PYTHON | {"model": str(path)}).problems()
    assert str(path) in problems[-1]
    assert problem in problems[-1]


def test_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.llama_cpp.python.NEEDED", ("no_such_module",))
    assert "no_such_module): pip install 'tollkeeper[llama]'" in BACKEND.problems()[0]


def test_a_client_is_blamed_for_its_mistakes() -> None:
    assert BACKEND.blame(500, b'{"error":{"message":"7 validation errors:') is Blame.CLIENT
    assert BACKEND.blame(500, b"Internal Server Error") is Blame.UNCLEAR
    assert BACKEND.blame(503, b"validation error") is Blame.ENDPOINT


def test_tiny_model_is_the_same_each_time(tmp_path: Path) -> None:
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    for name in ("one.gguf", "two.gguf"):
        tiny.write_model(str(tmp_path / name))
    first = (tmp_path / "one.gguf").read_bytes()
    assert first == (tmp_path / "two.gguf").read_bytes()
    assert first.startswith(b"GGUF")
    assert len(first) < 4_000_000


# The engine itself, started as the supervisor starts it


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    pytest.importorskip("llama_cpp", reason="not installed: sh backends/llama_cpp/build.sh")
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    model = str(tmp_path / "tiny.gguf")
    tiny.write_model(model, endless=True)
    async with start_engine(load_backend("tiny", "llama_cpp", PYTHON | {"model": model}), tmp_path) as engine:
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
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 12
        stream = await client.chat.completions.create(model="tiny", stream=True, **asked)
        assert "".join([event.choices[0].delta.content or "" async for event in stream]) == text
        embeddings = await client.embeddings.create(model="tiny", input=["one", "two"], encoding_format="float")
        assert [len(item.embedding) for item in embeddings.data] == [512, 512]


@pytest.mark.llama
async def test_answers_probes_while_it_works(engine: Engine) -> None:
    url = await find_url(engine)
    launch = engine._backend.launch(0)
    assert launch is not None
    async with httpx.AsyncClient(base_url=url, headers=find_key(engine), timeout=30) as client:
        working = asyncio.ensure_future(client.post("/v1/chat/completions", json=ask(1500)))
        await asyncio.sleep(0.2)
        for _ in range(5):
            probe = await client.get(launch.alive, timeout=1)
            assert probe.status_code == 200
        assert not working.done(), "the probes were to come while it works"
        assert (await working).json()["usage"]["completion_tokens"] == 1500  # and none of them cut it


@pytest.mark.llama
async def test_blame_knows_its_errors(engine: Engine) -> None:
    url = await find_url(engine)
    async with httpx.AsyncClient(base_url=url, headers=find_key(engine)) as client:
        for mistake in ({"temperature": "hot"}, {"messages": "no"}, {"messages": [{"role": "wizard", "content": "x"}]}):
            answer = await client.post("/v1/chat/completions", json=ask(1, **mistake))
            assert answer.status_code == 500
            assert BACKEND.blame(500, answer.content[:4096]) is Blame.CLIENT
        too_long = await client.post(
            "/v1/chat/completions", json=ask(1, messages=[{"role": "user", "content": "a " * 5000}])
        )
        assert (too_long.status_code, too_long.json()["error"]["code"]) == (400, "context_length_exceeded")


@pytest.mark.llama
async def test_takes_only_uuids_as_ids_of_requests(engine: Engine) -> None:
    assert load_backend("tiny", "llama_cpp", PYTHON | {"model": "x"}).wants_uuids
    url = await find_url(engine)
    async with httpx.AsyncClient(base_url=url, headers=find_key(engine)) as client:
        for named, status in (("mine", 400), ("0" * 32, 200)):
            asked = await client.post("/v1/chat/completions", json=ask(1), headers={"x-request-id": named})
            assert asked.status_code == status


@pytest.mark.llama
async def test_comes_back_after_a_request_that_kills_it(engine: Engine) -> None:
    """A grammar that does not parse ends llama.cpp with a segmentation fault."""
    url = await find_url(engine)
    async with httpx.AsyncClient(base_url=url, headers=find_key(engine)) as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/chat/completions", json=ask(1, grammar="root ::= ((("))
    while engine.condition.state.serves:
        await asyncio.sleep(0.01)
    assert engine.condition.reason == "was ended by SIGSEGV"
    assert engine.describe()["last_words"]
    assert (await engine.ensure_ready(60)).load == "tiny-2"


@pytest.mark.llama
async def test_s47_nobody_asks_without_the_key_of_this_start(engine: Engine) -> None:
    await check_key(engine)

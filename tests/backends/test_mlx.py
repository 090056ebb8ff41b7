"""MLX: its description, and the real engine where it is installed (`make engines`)."""

import asyncio
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from gateway.engines.process import Engine
from gateway.loader import load_backend
from gateway.model_file import read_model
from tests.backends.folder import write_folder, write_snapshot
from tests.backends.running import MLX_PYTHON, ask, find_url, start_engine


def test_settings_become_arguments(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "model")
    raw = {"model": str(folder), "python": "/opt/mlx/bin/python", "parallel": 4, "cache": str(tmp_path)}
    backend = load_backend("tiny", "mlx", raw)
    launch = backend.launch(1234)
    assert launch is not None
    assert launch.argv == (
        "/opt/mlx/bin/python", "-P", "-m", "mlx_lm", "server", "--model", str(folder), "--host", "127.0.0.1",
        "--port", "1234", "--decode-concurrency", "4", "--prompt-concurrency", "4",
    )  # fmt: skip
    assert launch.environment == {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path)}
    assert (launch.ready, launch.alive) == ("/v1/completions", "/health")
    assert (backend.slots, backend.generates_after_leave) == (4, True)
    model = read_model(str(folder))
    assert backend.memory() == round(model.size * 1.2) + model.cache * 4096


def test_a_model_of_the_cache_is_found_by_its_id(tmp_path: Path) -> None:
    snapshot = write_snapshot(tmp_path, "mlx-community/tiny")
    launch = load_backend("tiny", "mlx", {"model": "mlx-community/tiny", "cache": str(tmp_path)}).launch(1)
    assert launch is not None
    assert str(snapshot) in launch.argv


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc", "org/other", "", "tiny"])
def test_s49_what_a_client_asks_for_is_never_loaded(name: str) -> None:
    backend = load_backend("tiny", "mlx", {"model": "x"})
    assert backend.model_name(name) == "default_model"
    assert {"adapters", "draft_model"} <= backend.withheld


@pytest.mark.parametrize(
    ("python", "problem"),
    [("/no/such/python", "is not here, or may not be executed"), ("/bin/sh", "mlx-lm is not installed in the env")],
)
def test_an_environment_that_does_not_have_it(tmp_path: Path, python: str, problem: str) -> None:
    folder = write_folder(tmp_path / "model")
    (told,) = load_backend("tiny", "mlx", {"model": str(folder), "python": python}).problems()
    assert problem in told


def test_problems_with_the_model(tmp_path: Path) -> None:
    problems = load_backend("tiny", "mlx", {"model": "../no/model", "cache": str(tmp_path)}).problems()
    assert "is no folder here, and not in the cache" in problems[-1]
    folder = write_folder(tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    assert "is not whole" in load_backend("tiny", "mlx", {"model": str(folder)}).problems()[-1]


# The engine itself, started as the supervisor starts it


@pytest.fixture
async def engine(tmp_path: Path) -> AsyncIterator[Engine]:
    if not MLX_PYTHON.exists() and find_spec("mlx_lm") is None:
        pytest.skip("not installed: make engines")
    gguf = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    from backends.mlx.tiny import convert

    gguf.write_model(str(tmp_path / "tiny.gguf"))
    convert(str(tmp_path / "tiny.gguf"), str(tmp_path / "tiny"))
    raw: dict[str, Any] = {"model": str(tmp_path / "tiny")}
    if MLX_PYTHON.exists():
        raw["python"] = str(MLX_PYTHON)
    async with start_engine(load_backend("tiny", "mlx", raw), tmp_path) as engine:
        yield engine


@pytest.mark.mlx
async def test_answers(engine: Engine) -> None:
    """One engine for all of it: each start takes seconds."""
    url = await find_url(engine)
    async with openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        asked: Any = ask(12)
        answer = await client.chat.completions.create(model="default_model", **asked)
        text = answer.choices[0].message.content
        assert text == "A short pause follows each failed attempt, and the gateway accepts"
        stream = await client.chat.completions.create(
            model="default_model", stream=True, stream_options={"include_usage": True}, **asked
        )
        events = [event async for event in stream]
        assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == text
        assert events[-1].usage is not None
        assert events[-1].usage.completion_tokens == 12
    async with httpx.AsyncClient(base_url=url) as client:
        mistake = await client.post("/v1/chat/completions", json=ask(1, temperature="hot"))
        assert (mistake.status_code, mistake.http_version) == (400, "HTTP/1.0")
        trap = await client.post("/v1/chat/completions", json=ask(1, model="default_model", draft_model="/etc"))
        assert "/etc/config.json" in trap.text  # why that field is withheld


@pytest.mark.mlx
async def test_a_model_that_cannot_be_loaded_is_told_soon(tmp_path: Path) -> None:
    """Its header is whole, so only the engine finds out; its process lives on."""
    if not MLX_PYTHON.exists():
        pytest.skip("not installed: make engines")
    raw = {"model": str(write_folder(tmp_path / "model")), "python": str(MLX_PYTHON)}
    async with start_engine(load_backend("tiny", "mlx", raw), tmp_path) as engine, asyncio.timeout(60):
        while not engine.restarts:
            await asyncio.sleep(0.05)
        assert engine.condition.reason.startswith("answered its first request with 404")
        assert engine.condition.false_starts == 1

"""All engines that run here behind one gateway: OpenAI's client cannot tell which of them has answered.

Each of some 40 situations runs on the echo engine and on every real one that is installed (llama-cpp-python by
`make test`, the others by `make engines`), and must come out the same. The tiny models say one sentence whatever they
are asked, and the echo engine is told to. Its first words are a token each.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from backends.llama_cpp import native
from tests.backends.running import MLX_PYTHON
from tests.harness import Gateway, config, eventually, running_gateway

SENTENCE = "A short pause follows each failed attempt, and the gateway accepts"
TEXT, SIZE = "A short pause follows each failed", 6  # tokens
HELLO: Any = [{"role": "user", "content": "hello"}]
SAY: Any = {"echo": {"text": SENTENCE}}
LONG: Any = {"echo": {"chunks": 2000, "chunk_delay": 0.01}}  # the tiny models talk on by themselves
SLOW: Any = {"echo": {"delay": 2}}
TALK: Any = [
    {"role": "system", "content": "Be brief. Grüße, 世界."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "more"},
]
TOOL: Any = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
INSTALLED = {
    "echo": True,
    "python": find_spec("llama_cpp") is not None,
    "native": bool(native.find("llama-server")),
    "mlx": MLX_PYTHON.exists(),
}
MARKS: dict[str, Any] = {"echo": (), "python": pytest.mark.llama, "native": pytest.mark.llama, "mlx": pytest.mark.mlx}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    tiny = pytest.importorskip("backends.llama_cpp.tiny", reason="numpy and gguf are not installed")
    from backends.mlx.tiny import convert

    folder = tmp_path_factory.mktemp("models")
    file, weights = str(folder / "tiny.gguf"), str(folder / "tiny")
    tiny.write_model(file, endless=True)
    convert(file, weights)
    backends: dict[str, Any] = {
        "echo": {"echo": {}},
        "python": {"llama_cpp": {"model": file, "server": "python"}},
        "native": {"llama_cpp": {"model": file, "server": "native"}},
        "mlx": {"mlx": {"model": weights, "python": str(MLX_PYTHON)}},
    }
    backends = {name: backend for name, backend in backends.items() if INSTALLED[name]}
    document = config(
        tiers={"open": {"rate": "unlimited"}, "small": {"rate": "1/min", "burst": 1}},
        backends=backends,
        models={name: {"backend": name} for name in backends}
        | {f"{name}-large": {"backend": name} for name in backends},
        plugins=[{"key_auth": {}}, {"validate": {"prompt": 4000}}, {"quota": {}}],
        routes=[{"path": "/v1/chat/completions", "body": "64KB"}, {"path": "/v1/completions"}],
    )
    with running_gateway(document) as gateway:
        yield gateway


@pytest.fixture(params=[pytest.param(name, marks=mark) for name, mark in MARKS.items()])
def model(request: pytest.FixtureRequest) -> str:
    if not INSTALLED[request.param]:
        pytest.skip("not installed: make engines")
    return str(request.param)


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key("open"), max_retries=0, timeout=30) as client:
        yield client


def ask(client: OpenAI, model: str, **fields: Any) -> Any:
    extra = fields.pop("extra_body", SAY)
    if not model.startswith("echo"):
        extra = {name: value for name, value in extra.items() if name != "echo"}  # another thing to llama-server
    given = {"model": model, "messages": HELLO, "max_tokens": SIZE, "temperature": 0, "extra_body": extra, **fields}
    return client.chat.completions.create(**{name: value for name, value in given.items() if value is not None})


def read(answer: Any) -> tuple[str, str, int]:
    choice = answer.choices[0]
    return choice.message.content, choice.finish_reason, answer.usage.completion_tokens


def join(stream: Any) -> tuple[str, str]:
    events = [event for event in stream if event.choices]
    assert {event.object for event in events} == {"chat.completion.chunk"}
    assert len({event.id for event in events}) == 1
    reasons = [event.choices[0].finish_reason for event in events if event.choices[0].finish_reason]
    return "".join(event.choices[0].delta.content or "" for event in events), *reasons


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (TEXT, "length", SIZE)),
        ({"max_tokens": 1}, ("A", "length", 1)),
        ({"max_tokens": None, "max_completion_tokens": 3}, ("A short pause", "length", 3)),
        ({"max_tokens": 200, "max_completion_tokens": 3}, ("A short pause", "length", 3)),
        ({"stop": [" follows"]}, ("A short pause", "stop", 4)),
        ({"stop": " follows"}, ("A short pause", "stop", 4)),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}, (TEXT, "length", SIZE)),
        ({"messages": TALK}, (TEXT, "length", SIZE)),
        ({"tools": [TOOL], "tool_choice": "none"}, (TEXT, "length", SIZE)),
        ({"n": 1}, (TEXT, "length", SIZE)),
        ({"user": "somebody", "seed": 7, "top_p": 0.9}, (TEXT, "length", SIZE)),
        ({"extra_body": {"a_field_of_tomorrow": {"x": 1}, **SAY}}, (TEXT, "length", SIZE)),
        ({"presence_penalty": 0.0, "frequency_penalty": 0.0}, (TEXT, "length", SIZE)),
    ],
)
def test_answers(client: OpenAI, model: str, fields: dict[str, Any], expected: Any) -> None:
    assert read(ask(client, model, **fields)) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (TEXT, "length")),
        ({"max_tokens": 1}, ("A", "length")),
        ({"stop": [" follows"]}, ("A short pause", "stop")),
        ({"messages": TALK}, (TEXT, "length")),
        ({"stream_options": {"include_usage": False}}, (TEXT, "length")),
    ],
)
def test_streams(client: OpenAI, model: str, fields: dict[str, Any], expected: Any) -> None:
    assert join(ask(client, model, stream=True, **fields)) == expected


def test_a_model_is_called_what_it_is_called_here(client: OpenAI, model: str) -> None:
    for name in (model, f"{model}-large"):
        assert ask(client, name).model == name
        assert {event.model for event in ask(client, name, stream=True)} == {name}


def test_completions(client: OpenAI, model: str) -> None:
    prompt = SENTENCE if model == "echo" else "hello"
    given: Any = {"model": model, "prompt": prompt, "max_tokens": SIZE, "temperature": 0}
    answer = client.completions.create(**given)
    assert (answer.choices[0].text, answer.choices[0].finish_reason) == (TEXT, "length")
    assert answer.usage is not None and answer.usage.completion_tokens == SIZE
    events = [event for event in client.completions.create(stream=True, **given) if event.choices]
    assert "".join(event.choices[0].text for event in events) == TEXT
    assert events[-1].choices[0].finish_reason == "length"


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"temperature": "hot"}, 400, "invalid_field", "temperature"),
        ({"temperature": 3}, 400, "invalid_field", "temperature"),
        ({"top_p": -1}, 400, "invalid_field", "top_p"),
        ({"max_tokens": -5}, 400, "invalid_field", "max_tokens"),
        ({"messages": []}, 400, "invalid_field", "messages"),
        ({"messages": "hello"}, 400, "invalid_field", "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, 400, "invalid_field", "messages[0].role"),
        ({"messages": [{"role": "user", "content": "x " * 4000}]}, 400, None, None),
        ({"messages": [{"role": "user", "content": "x" * 70_000}]}, 413, None, None),
        ({"n": 3}, 400, "invalid_field", "n"),
        ({"stream": "yes"}, 400, "invalid_field", "stream"),
    ],
)
def test_mistakes(
    client: OpenAI, model: str, fields: dict[str, Any], status: int, code: str | None, param: str | None
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(client, model, **fields)
    assert caught.value.status_code == status
    if code is not None:
        assert (caught.value.code, caught.value.param) == (code, param)


def test_keys_and_limits(gateway: Gateway, client: OpenAI, model: str) -> None:
    with pytest.raises(openai.AuthenticationError):
        ask(client.with_options(api_key="tk_wrong"), model)
    with pytest.raises(openai.NotFoundError):
        ask(client, f"{model}-of-nobody")
    poor = client.with_options(api_key=gateway.key("small"))
    with pytest.raises(openai.RateLimitError) as caught:
        for _ in range(2):
            ask(poor, model, max_tokens=1)
    assert int(caught.value.response.headers["retry-after"]) <= 60


def test_who_leaves_a_stream_holds_up_nobody(client: OpenAI, model: str) -> None:
    with ask(client, model, stream=True, max_tokens=1900, extra_body=LONG) as stream:
        next(iter(stream))
    assert read(ask(client, model, timeout=5)) == (TEXT, "length", SIZE)


def test_who_leaves_a_whole_call_harms_nobody(client: OpenAI, model: str) -> None:
    with pytest.raises(openai.APITimeoutError):
        ask(client, model, max_tokens=1900, timeout=0.3, extra_body=SLOW)
    assert read(ask(client, model)) == (TEXT, "length", SIZE)


def kill(gateway: Gateway, model: str) -> Callable[[], bool]:
    """End an engine; returns whether another run of it is ready."""
    pid = gateway.status()["engines"][model]["pid"]
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        engine = gateway.status()["engines"][model]
        return engine["state"] == "ready" and engine["pid"] != pid

    return is_back


def test_an_engine_that_dies_breaks_a_stream_off_and_comes_back(gateway: Gateway, client: OpenAI, model: str) -> None:
    with ask(client, model, stream=True, max_tokens=1900, extra_body=LONG) as stream:
        events = iter(stream)
        next(events)
        is_back = kill(gateway, model)
        with pytest.raises(openai.APIError, match="died"):
            for _ in events:
                pass
    started = time.monotonic()
    assert read(ask(client, model)) == (TEXT, "length", SIZE), "it waits for the engine"
    assert time.monotonic() - started < 15
    eventually(is_back, 15)
    gateway.note_processes()


ODD: list[dict[str, Any]] = [
    {"response_format": {"type": "nothing"}}, {"n_discard": -1}, {"logit_bias": {"1": 1e300}}, {"stop": [1, 2]},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]}, {"mirostat_mode": "x"},
    {"grammar": "root ::= ((("}, {"draft_model": "/etc"}, {"adapters": "/etc"}, {"top_k": "many"}, {"min_p": []},
]  # fmt: skip


def test_s53_no_client_takes_an_engine_from_the_others(gateway: Gateway, client: OpenAI, model: str) -> None:
    """Bodies that one or another of them answers with 500, or dies of: nothing is restarted, nothing is left out."""
    before = gateway.status()["engines"][model]["pid"]
    for body in ODD * 2:
        with contextlib.suppress(openai.APIStatusError):
            ask(client, model, max_tokens=1, extra_body=body)
    engine = gateway.status()["engines"][model]
    assert (engine["pid"], engine["state"]) == (before, "ready")
    assert read(ask(client, model)) == (TEXT, "length", SIZE)


def test_what_is_estimated_of_their_memory(gateway: Gateway, model: str) -> None:
    memory = gateway.status()["engines"][model]["memory"]
    assert model == "echo" or 3_000_000 < memory < 50_000_000


def test_s47_an_engine_answers_nobody_but_the_gateway(gateway: Gateway, client: OpenAI, model: str) -> None:
    ask(client, model)
    engine = gateway.status()["engines"][model]
    told = httpx.post(f"http://127.0.0.1:{engine['port']}/v1/chat/completions", json={"messages": []}, timeout=10)
    assert (told.status_code == 401) == (model in ("python", "native")), "the others take no key"

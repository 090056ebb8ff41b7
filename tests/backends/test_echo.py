"""The echo engine as a process, asked by OpenAI's own client and by raw connections."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import aiohttp
import httpx
import openai
import pytest
from openai.types.chat import ChatCompletion

from gateway.loader import load_backend

SAID = "the quick brown fox"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    process, url = _start()
    yield url
    process.terminate()
    assert process.wait(5) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b"", "nothing is printed for requests, even those that fail as asked"
    process.stderr.close()


def _start() -> tuple["subprocess.Popen[bytes]", str]:
    launch = load_backend("demo", "echo", {"models": ["small", "large"]}).launch(0)
    assert launch is not None
    process = subprocess.Popen(launch.argv, stderr=subprocess.PIPE)
    assert process.stderr is not None
    return process, process.stderr.readline().decode().split()[-1]


@pytest.fixture
def client(url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0) as client:
        yield client


def messages(text: str = SAID) -> list[Any]:
    return [{"role": "system", "content": "be kind"}, {"role": "user", "content": text}]


def chat(client: openai.OpenAI, script: dict[str, Any] | None = None, **fields: Any) -> Any:
    return client.chat.completions.create(
        model="small", messages=messages(), extra_body={"echo": script} if script else None, **fields
    )


def test_chat(client: openai.OpenAI) -> None:
    answer: ChatCompletion = chat(client)
    assert answer.choices[0].message.content == SAID
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "small"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (6, 4)
    assert chat(client) == answer


def test_chat_stream(client: openai.OpenAI) -> None:
    events = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == SAID
    assert [event.choices[0].finish_reason for event in events if event.choices][-1] == "stop"
    assert events[-1].usage.total_tokens == 10
    assert all(event.usage is None for event in chat(client, stream=True))


@pytest.mark.parametrize(
    ("stop", "limit", "content", "reason", "made"),
    [
        (" quick", None, "the", "stop", 2),
        (["fox", "ick"], None, "the qu", "stop", 2),
        (" fox", 3, "the quick brown", "length", 3),
        (["none", ""], None, SAID, "stop", 4),
        ("the", 1, "", "stop", 1),
    ],
)
def test_a_stop_ends_an_answer(
    client: openai.OpenAI, stop: Any, limit: int | None, content: str, reason: str, made: int
) -> None:
    answer = chat(client, stop=stop, max_tokens=limit)
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (content, reason)
    assert answer.usage.completion_tokens == made


def test_parts_and_limit(client: openai.OpenAI) -> None:
    parts: Any = [{"type": "text", "text": "one two"}, {"type": "text", "text": " three"}]
    answer = client.chat.completions.create(
        model="any", messages=[{"role": "user", "content": parts}], max_completion_tokens=2
    )
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "length"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "look_up"}}])
def test_tool_call(client: openai.OpenAI, choice: Any) -> None:
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    answer: ChatCompletion = chat(client, tools=tools, tool_choice=choice)
    assert answer.choices[0].finish_reason == "tool_calls"
    calls: Any = answer.choices[0].message.tool_calls
    assert (calls[0].function.name, json.loads(calls[0].function.arguments)) == ("look_up", {"text": SAID})
    with client.chat.completions.stream(model="m", messages=messages(), tools=tools, tool_choice=choice) as stream:  # type: ignore[arg-type]
        final = stream.get_final_completion()
    assert final.choices[0].message.tool_calls[0].function.name == "look_up"  # type: ignore[index]
    assert chat(client, tools=tools).choices[0].message.content == SAID


def test_completions(client: openai.OpenAI) -> None:
    assert client.completions.create(model="small", prompt=SAID).choices[0].text == SAID
    stream = client.completions.create(model="small", prompt=SAID, stream=True)
    assert "".join(event.choices[0].text for event in stream) == SAID


def test_embeddings(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model="small", input=["a b", "c"], dimensions=8)
    first, second = (item.embedding for item in answer.data)
    assert len(first) == len(second) == 8
    assert sum(number * number for number in first) == pytest.approx(1)
    assert first != second
    plain = client.embeddings.create(model="small", input="a b", dimensions=8, encoding_format="float")
    assert plain.data[0].embedding == pytest.approx(first)
    assert answer.usage.prompt_tokens == 3


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["small", "large"]
    assert client.models.retrieve("large").id == "large"
    with pytest.raises(openai.NotFoundError, match="does not exist"):
        client.models.retrieve("unknown")


def test_bad_requests(url: str) -> None:
    for body in ("{nope", "[]", '{"model": "m"}', '{"messages": 3}', '{"messages": [], "echo": {"unknown": 1}}'):
        answer = httpx.post(f"{url}/v1/chat/completions", content=body)
        assert answer.status_code == 400, body
        assert answer.json()["error"]["type"] == "invalid_request_error"


def test_script_of_lengths_and_delays(client: openai.OpenAI) -> None:
    began = time.monotonic()
    stream = chat(client, {"delay": 0.1, "rate": 50, "chunks": 6, "size": 100}, stream=True)
    pieces = [event.choices[0].delta.content for event in stream if event.choices[0].delta.content]
    assert [len(piece) for piece in pieces] == [100] * 6
    assert 0.2 <= time.monotonic() - began < 5
    assert len(chat(client, {"chunks": 3, "size": 10}).choices[0].message.content) == 30


@pytest.mark.parametrize(("usage", "expected"), [("none", None), ("zero", 0)])
def test_script_of_usage(client: openai.OpenAI, usage: str, expected: int | None) -> None:
    answer = chat(client, {"usage": usage})
    assert (answer.usage and answer.usage.total_tokens) == expected
    events = list(chat(client, {"usage": usage}, stream=True, stream_options={"include_usage": True}))
    assert (events[-1].usage and events[-1].usage.total_tokens) == expected


def test_fails_with_a_status(client: openai.OpenAI) -> None:
    for stream in (False, True):
        with pytest.raises(openai.InternalServerError) as caught:
            chat(client, {"fail": 503}, stream=stream)
        assert caught.value.status_code == 503


def _raw(url: str, stream: bool, script: dict[str, Any]) -> tuple[bytes, str]:
    """Everything that a connection brings, and how it ended: closed, reset or timeout."""
    host, port = url.removeprefix("http://").split(":")
    body = json.dumps({"messages": messages(), "stream": stream, "echo": script}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    received = b""
    with socket.create_connection((host, int(port)), timeout=0.5) as connection:
        connection.sendall(head.encode() + body)
        try:
            while data := connection.recv(65536):
                received += data
        except ConnectionResetError:
            return received, "reset"
        except TimeoutError:
            return received, "timeout"
    return received, "closed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("fail", "end"), [("reset", "reset"), ("hang", "timeout"), ("garbage", "closed")])
def test_fails_before_the_head(url: str, stream: bool, fail: str, end: str) -> None:
    received, how = _raw(url, stream, {"fail": fail})
    assert how == end
    assert (b"not HTTP" in received) is (fail == "garbage")
    assert b"200" not in received


@pytest.mark.parametrize(
    ("fail", "end", "last"),
    [
        ("reset", "reset", b'quick"'),
        ("truncate", "closed", b'quick"'),
        ("hang", "timeout", b'quick"'),
        ("in_band", "closed", b'"error"'),
        ("no_done", "closed", b'fox"'),
    ],
)
def test_fails_in_the_middle_of_a_stream(url: str, fail: str, end: str, last: bytes) -> None:
    received, how = _raw(url, True, {"fail": fail, "after": 2, "chunk_delay": 0.01})
    assert how == end
    assert last in received
    assert b"[DONE]" not in received
    assert (b'brown"' in received) is (fail == "no_done")
    assert received.endswith(b"0\r\n\r\n") is (fail in ("in_band", "no_done"))  # a clean end, or not


def test_fails_in_the_middle_of_a_body(url: str) -> None:
    received, how = _raw(url, False, {"fail": "truncate"})
    head, _, body = received.partition(b"\r\n\r\n")
    assert how == "closed"
    assert 0 < len(body) < int(head.lower().partition(b"content-length: ")[2].split()[0])


@pytest.mark.parametrize("stream", [False, True])
def test_empty_answer(url: str, stream: bool) -> None:
    answer = httpx.post(
        f"{url}/v1/chat/completions", json={"messages": messages(), "stream": stream, "echo": {"fail": "empty"}}
    )
    assert (answer.status_code, answer.content) == (200, b"")


def test_exit() -> None:
    process, url = _start()
    assert _raw(url, False, {"fail": "exit"})[0] == b""
    assert process.wait(5) == 3
    assert process.stderr is not None
    process.stderr.close()


def test_reflects_the_request(url: str) -> None:
    told = httpx.put(f"{url}/echo/a%2Fb?x=1&x=2", content="hello", headers={"X-One": "1"}).json()
    assert (told["method"], told["path"], told["query"], told["body"]) == ("PUT", "/echo/a%2Fb", "x=1&x=2", "hello")
    assert ["X-One", "1"] in told["headers"]


async def test_web_socket(url: str) -> None:
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/v1/echo/ws") as connection:
        await connection.send_str("text")
        await connection.send_bytes(b"\x00\xff")
        assert (await connection.receive()).data == "text"
        assert (await connection.receive()).data == b"\x00\xff"
    await asyncio.sleep(0)


def test_health(url: str) -> None:
    assert httpx.get(f"{url}/health").json() == {"status": "ok"}


def test_starts_fast_and_listens_on_loopback_only() -> None:
    began = time.monotonic()
    process, url = _start()
    assert time.monotonic() - began < 3
    assert url.startswith("http://127.0.0.1:")
    process.kill()
    process.communicate()


def test_description() -> None:
    backend = load_backend("demo", "echo", {})
    launch = backend.launch(1234)
    assert launch is not None
    assert launch.argv[0] == sys.executable
    assert "--port=1234" in launch.argv
    assert (launch.ready, launch.alive) == ("/health", "/health")
    assert backend.endpoints() == backend.problems() == ()

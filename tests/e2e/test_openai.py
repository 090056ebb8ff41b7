"""The openai package as a client: what works against OpenAI works here."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.sdk import ASKED, chat, make_client
from tests.e2e.wire import row_of
from tests.faults.origin import Origin
from tests.harness import Gateway

TOOL = {
    "type": "function",
    "function": {"name": "look_up", "description": "Ünïcode", "parameters": {"type": "object", "properties": {}}},
}


@pytest.fixture
def gateway(talking: Gateway) -> Gateway:
    return talking


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with make_client(gateway) as client:
        yield client


def _row(gateway: Gateway, answer: Any) -> Any:
    return row_of(gateway, answer._request_id)


def test_chat(gateway: Gateway, client: OpenAI) -> None:
    answer = chat(client)
    assert answer.choices[0].message.content == "one two three"
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (3, 3)
    row = _row(gateway, answer)
    assert (row["outcome"], row["tokens_source"], row["tokens_in"], row["tokens_out"]) == ("complete", "counted", 3, 3)


def test_a_stream_without_usage_is_counted_all_the_same(gateway: Gateway, client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(model="echo", messages=ASKED, stream=True) as raw:
        request_id = raw.headers["x-request-id"]
        chunks = list(raw.parse())
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert all(chunk.usage is None for chunk in chunks)
    row = row_of(gateway, request_id)
    assert (row["tokens_source"], row["tokens_in"], row["tokens_out"], row["stream"]) == ("counted", 3, 3, 1)


def test_a_stream_with_usage(client: OpenAI) -> None:
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    assert (chunks[-1].choices, chunks[-1].usage.total_tokens) == ([], 6)
    assert all(chunk.choices for chunk in chunks[:-1])


def test_tools_pass_through(client: OpenAI, origin: Origin) -> None:
    answer = chat(client, tools=[TOOL], tool_choice="required")
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"text": "one two three"})
    chunks = list(chat(client, tools=[TOOL], tool_choice="required", stream=True))
    assert [c.choices[0].finish_reason for c in chunks][-1] == "tool_calls"
    more = {"response_format": {"type": "json_object"}, "seed": 7, "extra_body": {"unheard_of": [1.50, None]}}
    chat(client, "origin", tools=[TOOL], tool_choice="auto", **more)
    sent = json.loads(origin.entries()[-1].body.encode("latin-1"))
    assert (sent["tools"], sent["tool_choice"], sent["seed"], sent["unheard_of"]) == ([TOOL], "auto", 7, [1.5, None])


def test_completions_and_embeddings(gateway: Gateway, client: OpenAI) -> None:
    assert client.completions.create(model="echo", prompt="a b").choices[0].text == "a b"
    stream = client.completions.create(model="echo", prompt="a b", stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == "a b"
    answer = client.embeddings.create(model="echo", input=["a", "b c"], dimensions=16)
    assert [len(item.embedding) for item in answer.data] == [16, 16]
    raw = client.embeddings.with_raw_response.create(model="echo", input="a b c")
    row = row_of(gateway, raw.headers["x-request-id"])
    assert (row["tokens_in"], row["tokens_out"], row["tokens_source"]) == (3, 0, "counted")


def test_models(client: OpenAI) -> None:
    names = {model.id for model in client.models.list()}
    assert names == {"echo", "dear", "gpt-4o", "busy", "origin", "dead"}
    assert client.models.retrieve("gpt-4o").object == "model"
    assert chat(client, "gpt-4o").model == "echo"


async def test_many_streams_at_once(gateway: Gateway) -> None:
    async with AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key("open"), max_retries=0) as client:

        async def read(number: int) -> str:
            asked: Any = [{"role": "user", "content": f"stream number {number}"}]
            stream = await client.chat.completions.create(model="echo", messages=asked, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

        told = await asyncio.gather(*(read(number) for number in range(50)))
    assert told == [f"stream number {number}" for number in range(50)]

"""A stream whose model is still being loaded, or is busy, as clients see it: comments, then the stream or one error."""

import re
import shlex
import sys
from collections.abc import Iterator
from itertools import takewhile

import httpx
import openai
import pytest
from openai import OpenAI

from tests.e2e.sdk import ASKED, chat, make_client
from tests.e2e.wire import row_of
from tests.harness import Gateway, config, running_gateway

ECHO = f"sleep 1.2; exec {sys.executable} -P -m backends.echo.server --port={{port}} --models={{name}}"
PATIENCE = 0.8  # seconds in the queue


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    slow = {"command": {"run": f"sh -c {shlex.quote(ECHO)}"}, "load": "demand", "slots": 1}
    document = config(
        timeouts={"queue": PATIENCE},
        backends={"one": slow, "two": slow, "busy": {"echo": {}, "slots": 1}},
        models={"one": {"backend": "one"}, "two": {"backend": "two"}, "busy": {"backend": "busy"}},
        routes=[
            {"path": "/v1/chat/completions", "early_comments": "100ms"},
            {"path": "/silent/chat/completions"},
        ],
    )
    with running_gateway(document) as gateway:
        yield gateway


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with make_client(gateway, timeout=60) as client:
        yield client


def test_comments_and_then_the_stream(gateway: Gateway) -> None:
    body = {"model": "one", "messages": ASKED, "stream": True}
    headers = {"Authorization": f"Bearer {gateway.key('open')}"}
    with httpx.stream("POST", f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60) as answer:
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream")
        lines = [line for line in answer.iter_lines() if line]
    comments = list(takewhile(lambda line: not line.startswith("data:"), lines))
    assert comments and all(re.fullmatch(r": (loading|queued) \d+ s", line) for line in comments)
    assert all(line.startswith("data:") for line in lines[len(comments) :])
    assert lines[-1] == "data: [DONE]"
    row = row_of(gateway, answer.headers["x-request-id"])
    assert (row["status"], row["outcome"]) == (200, "complete") and row["load_us"] > 1_000_000


def test_openais_client_reads_past_them(client: OpenAI) -> None:
    events = list(chat(client, "two", stream=True))
    assert "".join(event.choices[0].delta.content or "" for event in events if event.choices) == "one two three"


def hold(client: OpenAI, seconds: float) -> openai.Stream[object]:
    """Take the one slot of `busy`."""
    return chat(client, "busy", stream=True, extra_body={"echo": {"chunks": 100, "chunk_delay": seconds / 100}})


def test_a_refusal_afterwards_is_an_exception(gateway: Gateway, client: OpenAI) -> None:
    with hold(client, 30), pytest.raises(openai.APIError, match="waited") as caught:
        list(chat(client, "busy", stream=True))
    assert not isinstance(caught.value, openai.APIStatusError), "the status was 200"
    assert isinstance(caught.value.body, dict)
    assert (caught.value.body["number"], caught.value.body["details"]["ahead"]) == (1802, 0)


@pytest.mark.parametrize(("base", "stream"), [("/v1", False), ("/silent", True)])
def test_whoever_did_not_ask_gets_a_status(gateway: Gateway, client: OpenAI, base: str, stream: bool) -> None:
    with hold(client, 30), pytest.raises(openai.InternalServerError) as caught:
        chat(client.with_options(base_url=gateway.url + base), "busy", stream=stream)
    assert (caught.value.status_code, caught.value.response.headers["x-tollkeeper-error"]) == (503, "1802")

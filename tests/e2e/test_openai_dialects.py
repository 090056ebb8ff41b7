"""The openai package and the other APIs that it knows: Responses, audio, images, embeddings."""

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.e2e.sdk import make_client
from tests.e2e.wire import row_of
from tests.harness import Gateway


@pytest.fixture
def gateway(speaking: Gateway) -> Gateway:
    return speaking


@pytest.fixture
def client(gateway: Gateway) -> Iterator[OpenAI]:
    with make_client(gateway) as client:
        yield client


def play(fault: str) -> dict[str, str]:
    return {"X-Fault": f"recorded; name={fault}"}


def test_a_response(gateway: Gateway, client: OpenAI) -> None:
    answer = client.responses.create(model="nick", input="hello", extra_headers=play("responses"))
    assert answer.output_text == "Hi there!"
    assert answer.usage is not None and answer.usage.input_tokens_details.cached_tokens == 16
    assert answer._request_id is not None
    assert row_of(gateway, answer._request_id)["tokens_out"] == 11


def test_a_stream_of_a_response(client: OpenAI) -> None:
    stream = client.responses.create(model="nick", input="x", stream=True, extra_headers=play("responses; stream=1"))
    events = list(stream)
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == "Hi there!"
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.usage is not None and last.response.usage.total_tokens == 48


def test_a_stream_of_a_response_that_fails_says_so(client: OpenAI) -> None:
    *_, last = client.responses.create(
        model="nick", input="x", stream=True, extra_headers=play("responses_failed; stream=1")
    )
    assert last.type == "response.failed"
    assert last.response.error is not None and last.response.error.code == "server_error"


@pytest.mark.parametrize("keep", [1, 5, 10])
def test_a_stream_of_a_response_that_breaks_off_raises(client: OpenAI, keep: int) -> None:
    stream = client.responses.create(
        model="nick", input="x", stream=True, extra_headers=play(f"responses; stream=1; keep={keep}")
    )
    seen = 0
    with pytest.raises(openai.APIError, match="broke off"):
        for _ in stream:
            seen += 1
    assert seen == keep


@pytest.mark.parametrize(
    ("shape", "status", "kind", "says"),
    [
        ("text", 500, openai.InternalServerError, "Internal Server Error"),
        ("bare", 404, openai.NotFoundError, "generation thread died"),
        ("detail", 401, openai.AuthenticationError, "Invalid API key"),
        ("validation", 422, openai.UnprocessableEntityError, "input: Field required"),
        ("context", 400, openai.BadRequestError, "available context size"),
    ],
)
def test_errors_of_servers_are_exceptions_that_say_something(
    client: OpenAI, shape: str, status: int, kind: type[openai.APIStatusError], says: str
) -> None:
    with pytest.raises(kind, match=says) as caught:
        client.responses.create(
            model="nick", input="x", extra_headers={"X-Fault": f"refusal; status={status}; shape={shape}"}
        )
    assert caught.value.code == ("context_length_exceeded" if shape == "context" else "upstream_error")
    assert isinstance(caught.value.body, dict) and caught.value.body["number"] == 1715


def test_a_transcription(gateway: Gateway, client: OpenAI) -> None:
    told = client.audio.transcriptions.create(
        model="nick", file=("größe.mp3", b"ID3" * 1000), extra_headers=play("transcription")
    )
    assert told.text == "I see skies"


def test_a_stream_of_a_transcription(client: OpenAI) -> None:
    stream = client.audio.transcriptions.create(
        model="nick", file=("a.mp3", b"ID3"), stream=True, extra_headers=play("transcription; stream=1")
    )
    assert [event.type for event in stream] == ["transcript.text.delta"] * 3 + ["transcript.text.done"]


def test_an_edited_image(client: OpenAI) -> None:
    made = client.images.edit(model="nick", image=b"PNG", prompt="a hat", extra_headers=play("images"))
    assert made.usage is not None and made.usage.total_tokens == 100


def test_embeddings(client: OpenAI) -> None:
    made = client.embeddings.create(model="nick", input="x", encoding_format="float", extra_headers=play("embeddings"))
    assert made.usage.prompt_tokens == 8

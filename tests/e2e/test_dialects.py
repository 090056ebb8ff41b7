"""Every dialect through a whole gateway: answers and streams as the references show them, broken ones, and errors."""

import json
from typing import Any

import pytest

from tests.e2e.verdict import check_row
from tests.e2e.wire import Answer, ask, bearer, row_of
from tests.faults.origin import Origin
from tests.faults.recording import answer_of, events_of, stream_of
from tests.faults.reference import SHAPES
from tests.harness import Gateway

BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hello"}]},
    "/v1/completions": {"prompt": "hello"},
    "/v1/responses": {"input": "hello"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hello"}], "max_tokens": 9},
    "/v1/embeddings": {"input": "hello"},
    "/v1/rerank": {"query": "hello", "documents": ["a", "b"]},
    "/v1/audio/speech": {"input": "hello", "voice": "alloy"},
    "/v1/images/generations": {"prompt": "hello"},
}
STREAMS = [  # path, recording, tokens in, out and cached
    ("/v1/chat/completions", "chat", 19, 3, 7),
    ("/v1/chat/completions", "llama_server", 19, 3, 7),
    ("/v1/completions", "completions", 5, 3, 0),
    ("/v1/responses", "responses", 37, 11, 16),
    ("/v1/messages", "messages", 35, 15, 8),
    ("/v1/audio/speech", "speech", 14, 101, 0),
    ("/v1/images/generations", "images", 50, 50, 0),
]
ANSWERS = [
    *[row for row in STREAMS if row[1] != "speech"],
    ("/v1/embeddings", "embeddings", 8, 0, 0),
    ("/v1/rerank", "rerank", 34, 0, 0),
]


@pytest.fixture
def gateway(speaking: Gateway) -> Gateway:
    return speaking


def ask_path(gateway: Gateway, path: str, fault: str, *, stream: bool = False, **more: Any) -> Answer:
    body = json.dumps({"model": "nick", "stream": stream, **BODIES[path], **more}).encode()
    return ask(gateway, "POST", path, bearer(gateway.key("monthly"), **{"X-Fault": fault}), body)


def forwarded(origin: Origin, answer: Answer) -> str:
    (entry,) = (entry for entry in origin.entries() if f"x-request-id: {answer.request_id}\r\n" in entry.head)
    return entry.body


@pytest.mark.parametrize(("path", "name", "told", "out", "cached"), ANSWERS)
def test_whole_answers(
    gateway: Gateway, origin: Origin, path: str, name: str, told: int, out: int, cached: int
) -> None:
    answer = ask_path(gateway, path, f"recorded; name={name}", unheard_of={"a": [1]})
    assert (answer.status, answer.body) == (200, answer_of(name))
    row = check_row(gateway, answer, "complete", 1000, ("counted", told, out))
    assert row["tokens_cached"] == cached
    sent = json.loads(forwarded(origin, answer))
    assert (sent["model"], sent["unheard_of"], "stream_options" in sent) == ("as-the-server-says", {"a": [1]}, False)


@pytest.mark.parametrize("old", ["", "; old=1"], ids=["http11", "http10"])
@pytest.mark.parametrize(("path", "name", "told", "out", "cached"), STREAMS)
def test_streams(
    gateway: Gateway, origin: Origin, path: str, name: str, told: int, out: int, cached: int, old: str
) -> None:
    answer = ask_path(gateway, path, f"recorded; name={name}; stream=1{old}", stream=True)
    is_asked = path.endswith("completions")
    ours = [event for event in events_of(name) if is_asked and b'"choices":[]' in event]
    expected = stream_of(name)
    for event in ours:
        expected = expected.replace(event + b"\n\n", b"")
    assert (answer.status, answer.is_cut, answer.body) == (200, False, expected)
    row = check_row(gateway, answer, "complete", 1000, ("counted", told, out))
    assert row["tokens_cached"] == cached
    assert ("stream_options" in json.loads(forwarded(origin, answer))) == is_asked


@pytest.mark.parametrize("old", ["", "; old=1"], ids=["http11", "http10"])
@pytest.mark.parametrize(("path", "name"), [row[:2] for row in STREAMS])
def test_a_stream_that_stops_in_the_middle_is_told_in_its_own_words(
    gateway: Gateway, path: str, name: str, old: str
) -> None:
    answer = ask_path(gateway, path, f"recorded; name={name}; stream=1; keep=1{old}", stream=True)
    first, *last = answer.body.rstrip(b"\n").split(b"\n\n")
    assert (answer.status, answer.is_cut, first) == (200, True, events_of(name)[0])
    (error,) = last
    is_named = path in ("/v1/responses", "/v1/messages")
    assert error.startswith(b"event: error\ndata: " if is_named else b"data: ")
    told = json.loads(error.partition(b"data: ")[2])
    assert told["error"]["number"] == 1705
    assert told.get("type") == ("error" if is_named else None)
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["error"], row["tokens_source"]) == ("broken", 1705, "estimated")


@pytest.mark.parametrize(("path", "name"), [("/v1/responses", "responses_failed"), ("/v1/messages", "messages_failed")])
def test_a_failure_inside_a_stream_is_passed_and_seen(gateway: Gateway, path: str, name: str) -> None:
    answer = ask_path(gateway, path, f"recorded; name={name}; stream=1", stream=True)
    assert answer.body == stream_of(name)
    assert row_of(gateway, answer.request_id)["outcome"] == "broken"


@pytest.mark.parametrize("path", BODIES)
def test_a_stream_of_nothing_is_an_error(gateway: Gateway, path: str) -> None:
    answer = ask_path(gateway, path, "empty-stream", stream=True)
    assert (answer.status, answer.error) == (502, 1710)
    assert (answer.json.get("type") == "error") == (path == "/v1/messages")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages", "/v1/audio/speech"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_of_every_shape_are_made_even(gateway: Gateway, path: str, shape: str, stream: bool) -> None:
    answer = ask_path(gateway, path, f"refusal; status=400; shape={shape}", stream=stream)
    assert (answer.status, answer.is_cut, answer.get("content-type")) == (400, False, "application/json")
    assert answer.get("x-tollkeeper-error") is None  # it is the server's error, not ours
    if shape == "good" and path != "/v1/messages":
        assert answer.body == SHAPES["good"][1].encode()
    else:
        error = answer.json["error"]
        assert (error["number"], error["type"]) == (1715, "invalid_request_error")
        assert error["message"] and "/opt" not in error["message"]
        assert error["code"] == ("context_length_exceeded" if shape == "context" else "upstream_error")
        assert (answer.json.get("type") == "error") == (path == "/v1/messages")
        assert answer.json["meta"]["request_id"] == answer.request_id
    check_row(gateway, answer, "upstream_rejected", 1000, ("none", 0, 0))


@pytest.mark.parametrize(
    ("status", "kind"), [(401, "authentication_error"), (500, "server_error"), (503, "server_error")]
)
def test_the_status_of_an_error_stays(gateway: Gateway, status: int, kind: str) -> None:
    answer = ask_path(gateway, "/v1/chat/completions", f"refusal; status={status}; shape=text")
    assert (answer.status, answer.json["error"]["type"]) == (status, kind)
    assert answer.json["error"]["message"] == "Internal Server Error"


@pytest.mark.parametrize("path", ["/v1/messages", "/speak"])
def test_the_gateways_own_refusals_are_anthropics_there(gateway: Gateway, path: str) -> None:
    answer = ask(gateway, "POST", path, bearer("no-such-key"), b"{}")
    assert (answer.status, answer.error, answer.json["type"]) == (401, 1002, "error")
    assert answer.json["error"]["type"] == "authentication_error"


FILE = b"ID3\x00\xff\r\n--not-it\r\n" + bytes(range(256)) * 4000


def upload(gateway: Gateway, model: bytes, fault: str, *fields: bytes) -> Answer:
    """A transcription is asked for; the file stands before the model, as in OpenAI's own examples."""
    parts = [
        b'name="file"; filename="a.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n' + FILE,
        b'name="model"\r\n\r\n' + model,
    ]
    body = (
        b"".join(b"--b0\r\nContent-Disposition: form-data; %b\r\n" % part for part in [*parts, *fields]) + b"--b0--\r\n"
    )
    kind = "multipart/form-data; boundary=b0"
    headers = bearer(gateway.key("monthly"), **{"X-Fault": fault, "Content-Type": kind})
    return ask(gateway, "POST", "/v1/audio/transcriptions", headers, body)


@pytest.mark.parametrize("fault", ["recorded; name=transcription", "recorded; name=transcription; stream=1"])
def test_a_form_goes_to_its_model_and_stays_as_it_is(gateway: Gateway, origin: Origin, fault: str) -> None:
    answer = upload(gateway, b"nick", fault, b'name="stream"\r\n\r\ntrue')
    assert answer.status == 200
    assert answer.body == (stream_of if "stream" in fault else answer_of)("transcription")
    row = check_row(gateway, answer, "complete", 1000, ("counted", 14, 45))
    assert (row["model"], row["model_asked"], row["stream"]) == ("origin", "nick", 1)
    sent = forwarded(origin, answer).encode("latin-1")
    assert FILE in sent
    assert b'name="model"\r\n\r\nas-the-server-says\r\n' in sent and b"nick" not in sent


@pytest.mark.parametrize(
    ("model", "more", "number"),
    [(b"unknown", b"", 1302), (b"nick", b'name="model"\r\n\r\norigin', 1211), (b"../x", b"", 1214)],
)
def test_a_form_is_checked_as_any_other_body(gateway: Gateway, model: bytes, more: bytes, number: int) -> None:
    assert upload(gateway, model, "ok", *([more] if more else [])).error == number


def test_sound_is_handed_on_as_it_comes(gateway: Gateway) -> None:
    answer = ask_path(gateway, "/v1/audio/speech", "flood; size=3000000")
    assert (answer.status, len(answer.body)) == (200, 3_000_000)
    row = row_of(gateway, answer.request_id)
    assert (row["outcome"], row["tokens_source"], row["tokens_out"]) == ("complete", "estimated", 0)

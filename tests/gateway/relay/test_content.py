"""What is kept of prompts and answers: through a relay with real sockets, as a route says it."""

import asyncio
import json
from typing import Any

import pytest

from gateway.exchange import Exchange
from gateway.http.head import RequestHead
from gateway.journal import Closed, Content
from gateway.redaction import PRESETS, compile_redaction
from gateway.relay.content import Keeping, Transcript
from gateway.relay.dialect.kind import DIALECTS
from gateway.wire import parse_object
from tests.gateway.http.peers import eventually
from tests.gateway.relay.stage import Stage, chunked, ok, read_whole

JSON = "content-type: application/json"
EVENTS = "content-type: text/event-stream"
CHAT = "/v1/chat/completions"


def document(url: str, content: Any = True, **more: Any) -> str:
    sections = {
        "plugins": [{"key_auth": {}}, {"quota": {}}],
        "backends": {"up": {"http": {"endpoints": [{"url": url}]}}},
        "models": {"m": {"backend": "up"}},
        "routes": [{"path": CHAT, **({} if content is None else {"content": content})}],
        **more,
    }
    return "".join(f"{name}: {json.dumps(value)}\n" for name, value in sections.items())


def asking(*messages: str, **fields: Any) -> bytes:
    said = [{"role": "user", "content": message} for message in messages]
    return json.dumps({"model": "m", "messages": said, **fields}).encode()


def answering(text: str) -> bytes:
    choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return ok(json.dumps({"choices": [choice]}).encode(), JSON)


def delta(text: str, finish: str | None = None) -> bytes:
    return (
        b"data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": finish}]}).encode() + b"\n\n"
    )


async def kept(stage: Stage) -> Content:
    """The one record; it stands before its row."""
    await eventually(lambda: any(isinstance(record, Closed) for record in stage.records()))
    *_, content, closed = stage.records()
    assert isinstance(content, Content) and isinstance(closed, Closed) and content.id == closed.opened.id
    return content


@pytest.mark.parametrize("content", [None, False])
@pytest.mark.parametrize("stream", [True, False])
async def test_nothing_is_kept_unless_the_route_says_so(stage: Stage, content: bool | None, stream: bool) -> None:
    answer = chunked(delta("violets", "stop") + b"data: [DONE]\n\n") if stream else answering("violets")
    await stage.start(document(await stage.upstream(answer), content))
    answered = await stage.ask(path=CHAT, body=asking("roses", stream=stream), x_session_id="s")
    assert answered.status == 200 and b"violets" in answered.body
    await stage.row()
    journal = (stage.folder / "journal" / "w.0.jsonl").read_bytes()
    assert b"roses" not in journal and b"violets" not in journal


async def test_a_whole_answer(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(answering("violets are blue"))))
    await stage.ask(path=CHAT, body=asking("roses are red", "and violets?"))
    content = await kept(stage)
    assert (content.input, content.output) == ("user: roses are red\nuser: and violets?", "violets are blue")


async def test_a_stream_is_kept_whole(stage: Stage) -> None:
    words = [f"word{number} " for number in range(200)]
    pieces = b"".join(delta(word) for word in words) + delta("", "stop") + b"data: [DONE]\n\n"
    await stage.start(document(await stage.upstream(chunked(pieces))))
    await stage.ask(path=CHAT, body=asking("go", stream=True))
    assert (await kept(stage)).output == "".join(words)
    assert (await stage.row()).finish == "stop"


async def test_secrets_are_taken_out_of_both(stage: Stage) -> None:
    """A stream may cut one into any number of pieces."""
    secret = "my key is sk-abcdef0123456789 and PAT-123456, mail jo@example.com"
    pieces = b"".join(delta(mark) for mark in secret) + delta("", "stop") + b"data: [DONE]\n\n"
    trace = {"trace": {"redact": ["keys", "PAT-[0-9]{6}"]}}
    await stage.start(document(await stage.upstream(chunked(pieces)), {"redact": ["emails"]}, **trace))
    await stage.ask(path=CHAT, body=asking(secret, stream=True))
    content = await kept(stage)
    assert content.output == "my key is sk-… and [redacted], mail [email]"
    assert content.input == f"user: {content.output}"


async def test_what_is_too_long_is_cut_with_a_mark(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(answering("ä" * 5000)), {"input": 100, "output": 50}))
    await stage.ask(path=CHAT, body=asking("first", "x" * 200, "last"))
    content = await kept(stage)
    assert content.output == "ä" * 21 + "…[cut]" and len(content.output.encode()) == 50
    assert content.input.startswith("[1 left out]\nuser: xxx") and content.input.endswith("…[cut]\nuser: last")


async def test_a_leaver_leaves_what_was_delivered(stage: Stage) -> None:
    gate = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_whole(reader)
        head = f"HTTP/1.1 200 OK\r\n{EVENTS}\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        piece = delta("as far as here")
        writer.write(head + b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        await gate.wait()

    await stage.start(document(f"http://127.0.0.1:{(await stage.site.upstream(script)).port}"))
    client = await stage.send("POST", CHAT, asking("go", stream=True))
    async with asyncio.timeout(20):
        await client.reader.readuntil(b"as far as here")
    client.close()
    content = await kept(stage)
    gate.set()
    assert (content.input, content.output) == ("user: go", "as far as here")
    assert (await stage.row()).outcome == "left"


async def test_a_refusal_keeps_what_was_asked(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1"))
    answered = await stage.ask(path=CHAT, body=asking("hello"))
    assert answered.number == 1701
    content = await kept(stage)
    assert (content.input, content.output) == ("user: hello", "")


async def test_who_is_not_known_leaves_nothing(stage: Stage) -> None:
    await stage.start(document("http://127.0.0.1:1"))
    assert (await stage.ask(path=CHAT, body=asking("hello"), key="")).status == 401
    await stage.row()
    assert not any(isinstance(record, Content) for record in stage.records())


async def test_an_answer_made_by_a_plugin(stage: Stage) -> None:
    plugins = {"plugins": [{"key_auth": {}}, {"response_cache": {}}, {"quota": {}}]}
    await stage.start(document(await stage.upstream(answering("violets")), True, **plugins))
    for _ in range(2):
        await stage.ask(path=CHAT, body=asking("roses", temperature=0))
    await eventually(lambda: len(stage.closed()) == 2)
    said = [record for record in stage.records() if isinstance(record, Content)]
    assert [content.output for content in said] == ["violets", "violets"]
    assert [row.cache for row in stage.closed()] == ["miss", "hit"]
    assert [row.finish for row in stage.closed()] == ["stop", "stop"]


def test_whatever_happens_the_row_is_written(caplog: pytest.LogCaptureFixture) -> None:
    def fail(text: str) -> str:
        raise ValueError(text)

    made = Exchange("i", RequestHead("POST", b"/", "1.1", []), "POST", "/", 0.0)
    made.dialect, made.fields = DIALECTS["chat"], parse_object(asking("a secret"), 10)
    assert Transcript(Keeping(100, 100, fail)).record(made) is None
    assert "ValueError" in caplog.text and "a secret" not in caplog.text


@pytest.mark.parametrize("length", range(7900, 8400, 50))
def test_no_half_of_a_secret_is_left_at_the_cut(length: int) -> None:
    """Wherever the cut falls, and however much was taken out before it."""
    keeping = Keeping(1000, 1000, compile_redaction(PRESETS))
    text = " ".join(["jo.doe@mail.example.com"] * 40) + "x" * (length // 10) + " "
    text = (text + "AKIAIOSFODNN7EXAMPLE 4111 1111 1111 1111 ") * 9
    clean = Transcript(keeping)._clean(text, 1000)
    assert len(clean.encode()) <= 1000 and clean.endswith("…[cut]")
    assert not any(part in clean for part in ("AKIA", "4111", "doe@", "jo.d"))

"""Comments in streams that wait for their model: what they commit, and how a refusal is said after them."""

import asyncio
import json
import re
from typing import Any

import pytest

from gateway.link import Failed, Slot
from tests.gateway.http.peers import eventually
from tests.gateway.relay.stage import Stage, chunked, ok

JSON = "content-type: application/json"
EVENTS = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}\n\n', b"data: [DONE]\n\n"
STREAM = chunked(*EVENTS)
TOO_LONG = ok(
    b'{"error":{"message":"The prompt is\\ntoo long","code":"context_length_exceeded"}}', JSON, status="400 No"
)
PATHS = {
    "/v1/chat/completions": {"messages": []}, "/v1/completions": {"prompt": "x"},
    "/v1/responses": {"input": "x"}, "/v1/messages": {"messages": []},
}  # fmt: skip


def document(other: str = "http://127.0.0.1:1", pause: Any = "50ms", plugins: Any = ("key_auth", "quota")) -> str:
    sections = {
        "plugins": list(plugins),
        "backends": {"engine": {"echo": {}, "slots": 1}, "other": {"http": {"endpoints": [{"url": other}]}}},
        "models": {
            "m": {"backend": "engine"}, "safe": {"backend": "engine", "fallback": "o"}, "o": {"backend": "other"},
        },
        "routes": [{"path": path, "early_comments": pause} for path in (*PATHS, "/v1/embeddings")],
    }  # fmt: skip
    return "\n".join(f"{name}: {json.dumps(section)}" for name, section in sections.items())


class Waiting:
    """A request whose slot is granted, or refused, when the test says so."""

    def __init__(self, stage: Stage, path: str = "/v1/chat/completions", **fields: Any) -> None:
        self._slot = stage.supervisor.slot = asyncio.get_running_loop().create_future()
        self._body = json.dumps({"model": "m", "stream": True, **PATHS.get(path, {"input": "x"}), **fields}).encode()
        self._path = path
        self._stage = stage

    async def send(self, **headers: str) -> "Waiting":
        self.client = await self._stage.send("POST", self._path, self._body, **headers)
        await eventually(lambda: self._stage.supervisor.held, 20)
        return self

    async def hear(self, count: int = 2) -> bytes:
        """The head, in lower case, and so many comments."""
        head = await self.client.head()
        async with asyncio.timeout(20):
            for _ in range(count):
                assert is_comment(await self._piece())
        return head.lower()

    async def end(self, answer: Slot | Failed) -> tuple[bytes, bool]:
        """What comes after the comments, and whether it came to its end."""
        self._slot.set_result(answer)
        pieces = []
        async with asyncio.timeout(20):
            try:
                while piece := await self._piece():
                    pieces.append(piece)
            except asyncio.IncompleteReadError:
                return b"".join(piece for piece in pieces if not is_comment(piece)), False
        return b"".join(piece for piece in pieces if not is_comment(piece)), True

    async def _piece(self) -> bytes:
        size = int(await self.client.reader.readuntil(b"\r\n"), 16)
        return (await self.client.reader.readexactly(size + 2))[:-2]


def is_comment(piece: bytes) -> bool:
    return re.fullmatch(rb": loading \d+ s\n\n", piece) is not None


def told(body: bytes) -> Any:
    """The one event of an error."""
    (event,) = body.removesuffix(b"\n\n").split(b"\n\n")
    return json.loads(event.partition(b"data: ")[2])


async def test_a_stream_begins_with_comments(stage: Stage) -> None:
    await stage.start(document())
    waiting = await Waiting(stage).send()
    head = await waiting.hear(3)
    assert head.startswith(b"http/1.1 200 ") and b"content-type: text/event-stream\r\n" in head
    assert b"x-ratelimit-limit: " in head and b"cache-control: no-cache\r\n" in head
    assert await waiting.end(Slot(await stage.upstream(STREAM), "load-1", 0.0, 2.5)) == (b"".join(EVENTS), True)
    row = await stage.row()
    assert (row.status, row.outcome, row.error, row.load_us, row.units) == (200, "complete", 0, 2_500_000, 1000)
    assert row.bytes_out == len(b"".join(EVENTS)), "comments are no part of the answer"


async def test_who_gets_a_slot_soon_hears_of_nothing(stage: Stage) -> None:
    await stage.start(document(pause="20s"))
    stage.supervisor.slot = Slot(await stage.upstream(STREAM), "load-1")
    answered = await stage.ask("POST", "/v1/chat/completions", b'{"model":"m","messages":[],"stream":true}')
    assert (answered.status, answered.body) == (200, b"".join(EVENTS))
    assert answered.header("x-tollkeeper-model") == "m"
    stage.supervisor.slot = Failed("full", 1709, 7.0)
    answered = await stage.ask("POST", "/v1/chat/completions", b'{"model":"m","messages":[],"stream":true}')
    assert (answered.status, answered.number, answered.header("retry-after")) == (503, 1709, "7")


@pytest.mark.parametrize(
    ("path", "fields", "pause"),
    [
        ("/v1/chat/completions", {"stream": False}, "10ms"),
        ("/v1/embeddings", {}, "10ms"),
        ("/v1/chat/completions", {}, False),
    ],
)
async def test_nobody_else_does(stage: Stage, path: str, fields: dict[str, Any], pause: Any) -> None:
    """Not who wants a whole answer, or what is no stream; nor where the route does not ask for it."""
    await stage.start(document(pause=pause))
    waiting = await Waiting(stage, path, **fields).send()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(waiting.client.reader.read(1), 0.2)
    waiting._slot.set_result(Failed("full", 1709, 7.0))
    assert (await waiting.client.head()).startswith(b"HTTP/1.1 503 ")


@pytest.mark.parametrize("path", PATHS)
async def test_a_refusal_afterwards_is_one_event(stage: Stage, path: str) -> None:
    """In the words of the dialect, and without the end of the body: nobody takes it for an answer."""
    await stage.start(document())
    waiting = await Waiting(stage, path).send()
    await waiting.hear()
    body, is_whole = await waiting.end(Failed("Waited in vain.", 1802, 7.0, {"ahead": 3}))
    assert not is_whole
    assert body.startswith(b"event: error\n") == (path in ("/v1/responses", "/v1/messages"))
    said = told(body)
    assert (said["error"]["number"], said["error"]["message"]) == (1802, "Waited in vain.")
    assert said["error"]["details"]["ahead"] == 3
    assert said.get("type") == ("error" if path in ("/v1/responses", "/v1/messages") else None)
    row = await stage.row()
    assert (row.status, row.error, row.outcome, row.units, row.bytes_out) == (200, 1802, "turned_away", 0, 0)
    await eventually(lambda: stage.used() == 0, 20)


async def test_what_the_server_refuses_afterwards_is_one_event(stage: Stage) -> None:
    await stage.start(document())
    waiting = await Waiting(stage).send()
    await waiting.hear()
    body, is_whole = await waiting.end(Slot(await stage.upstream(TOO_LONG), "load-1"))
    error = told(body)["error"]
    assert not is_whole
    assert (error["number"], error["code"], error["message"]) == (
        1715,
        "context_length_exceeded",
        "The prompt is too long",
    )
    row = await stage.row()
    assert (row.status, row.upstream_status, row.outcome) == (200, 400, "upstream_rejected")


@pytest.mark.parametrize(
    ("answer", "number", "outcome"),
    [
        (ok(b'{"id":"1"}', JSON), 1703, "upstream_failed"),
        (b"", 1702, "upstream_failed"),
        (chunked(), 1710, "upstream_failed"),
        (chunked(end=False)[:-4], 1702, "upstream_failed"),
    ],
)
async def test_failures_afterwards(stage: Stage, answer: bytes, number: int, outcome: str) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()
        writer.close()

    await stage.start(document())
    waiting = await Waiting(stage).send()
    await waiting.hear()
    body, is_whole = await waiting.end(Slot(f"http://127.0.0.1:{(await stage.site.upstream(script)).port}", "load-1"))
    assert (told(body)["error"]["number"], is_whole) == (number, False)
    row = await stage.row()
    assert (row.status, row.error, row.outcome) == (200, number, outcome)


async def test_another_model_may_answer_afterwards(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(STREAM)))
    waiting = await Waiting(stage, model="safe").send()
    await waiting.hear()
    assert await waiting.end(Failed("Waited in vain.", 1802, 7.0)) == (b"".join(EVENTS), True)
    row = await stage.row()
    assert (row.status, row.outcome, row.opened.model, row.opened.backend) == (200, "complete", "o", "other")


async def test_who_leaves_meanwhile_gives_everything_back(stage: Stage) -> None:
    await stage.start(document())
    waiting = await Waiting(stage).send()
    await waiting.hear()
    waiting.client.close()
    row = await stage.row()
    assert (row.outcome, row.units, row.status) == ("left_waiting", 0, 200)
    await eventually(lambda: stage.used() == 0 and not stage.supervisor.held, 20)
    waiting._slot.set_result(Failed("gone"))


async def test_old_clients_get_them_too(stage: Stage) -> None:
    """HTTP/1.0: the end of the connection ends the body, and is a reset where the answer is none."""
    await stage.start(document())
    waiting = Waiting(stage)
    client = waiting.client = await stage.site.client(stage.port)
    head = f"content-length: {len(waiting._body)}\r\nauthorization: Bearer key-of-acme-0001\r\n\r\n".encode()
    await client.send(b"POST /v1/chat/completions HTTP/1.0\r\nhost: gate\r\n" + head + waiting._body)
    assert b"transfer-encoding" not in (await client.head()).lower()
    async with asyncio.timeout(20):
        assert is_comment(await client.reader.readuntil(b"\n\n"))
    waiting._slot.set_result(Slot(await stage.upstream(STREAM), "load-1"))
    assert (await client.rest()).endswith(b"".join(EVENTS))


@pytest.mark.usefixtures("third_parties")
async def test_response_hooks_see_the_head_that_the_client_gets(stage: Stage) -> None:
    await stage.start(document(plugins=("key_auth", "drip")))
    waiting = await Waiting(stage).send(x_response="status")
    head = await waiting.hear()
    assert head.startswith(b"http/1.1 418 ") and head.count(b"x-seen: yes\r\n") == 1
    answer = Slot(await stage.upstream(STREAM), "load-1")
    assert await waiting.end(answer) == (b"".join(EVENTS).upper(), True), "each piece of the answer went by"
    assert (await stage.row()).status == 418


@pytest.mark.usefixtures("third_parties")
async def test_a_response_hook_may_still_refuse(stage: Stage) -> None:
    await stage.start(document(plugins=("key_auth", "drip")))
    waiting = await Waiting(stage).send(x_response="refuse")
    head = (await waiting.client.head()).lower()
    assert head.startswith(b"http/1.1 403 ") and b"x-tollkeeper-error: 1103" in head
    waiting._slot.set_result(Failed("gone"))
    assert (await stage.row()).outcome == "refused"

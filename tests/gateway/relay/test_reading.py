"""How answers are read: errors made even, also under plugins, and what of them goes on."""

import gzip
import json
from typing import Any

import pytest

from gateway.backend import Blame
from tests.gateway.relay.stage import Stage, chunked, ok, read_whole
from tests.gateway.relay.test_relay import BODY, document

LEAKY = b'{"error":{"message":"1 validation error: File \\"/opt/a/b.py\\"","type":"x"}}'


async def test_an_error_is_even_before_plugins_see_it(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the backend's judgement is of what its server really said."""
    text = document(await stage.upstream(ok(LEAKY, 'etag: "1"', "content-type: text/plain", status="500 Oops")))
    rules = json.dumps({"json": {"add": {"seen": True}}, "statuses": "any"})
    await stage.start(text.replace('[{"key_auth": {}},', f'[{{"key_auth": {{}}}}, {{"response_transform": {rules}}},'))
    judged: list[bytes] = []
    backend = stage.assembly.directions.targets["up"].backend
    monkeypatch.setattr(backend, "blame", lambda status, body: judged.append(body) or Blame.CLIENT)
    answered = await stage.ask(body=BODY)
    assert answered.status == 500
    told = json.loads(answered.body)
    error = told["error"]
    assert (error["message"], error["number"]) == ('1 validation error: File "[path]"', 1715)
    assert told["seen"] is True
    assert (answered.header("content-type"), answered.header("etag")) == ("application/json", 'w/"1"')
    assert judged == [LEAKY]


async def test_what_is_compressed_says_no_more_than_its_status(stage: Stage) -> None:
    packed = ok(gzip.compress(b'{"detail":"no"}'), "content-encoding: gzip", status="404 Not Found")
    await stage.start(document(await stage.upstream(packed)))
    answered = await stage.ask(body=BODY)
    assert (answered.status, answered.header("content-encoding")) == (404, None)
    assert json.loads(answered.body)["error"]["message"] == "The model server answered 404 Not Found."


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        (ok(b"x" * 2_000_000, status="400 Bad"), 1712),
        (b"HTTP/1.1 400 Bad\r\ncontent-length: 9\r\nconnection: close\r\n\r\n{}", 1705),
        (chunked(b"data: x\n\n", end=False).replace(b"200 OK", b"500 Oops"), 1806),
    ],
    ids=["huge", "cut", "open"],
)
async def test_an_error_that_does_not_come_whole_is_ours(stage: Stage, answer: bytes, number: int) -> None:
    async def script(reader: Any, writer: Any) -> None:
        await read_whole(reader)
        writer.write(answer)
        await writer.drain()
        if number != 1806:
            writer.close()
        else:
            await reader.read()

    await stage.start(document(f"http://127.0.0.1:{(await stage.site.upstream(script)).port}"))
    assert (await stage.ask(body=BODY)).number == number
    assert (await stage.row()).outcome == "upstream_failed"


@pytest.mark.parametrize(("dialect", "is_read"), [("plain", False), ("chat", True)])
async def test_a_route_may_say_its_dialect(stage: Stage, dialect: str, is_read: bool) -> None:
    """Also one to a backend, whose bodies nobody looks at."""
    url = await stage.upstream(ok(b'{"detail":"no"}', status="404 Not Found"))
    text = document(url).replace('{"path": "/free"', f'{{"dialect": "{dialect}", "path": "/free"')
    await stage.start(text)
    body = (await stage.ask(path="/free", body=b"anything")).body
    assert (body == b'{"detail":"no"}') != is_read


async def test_a_plain_route_to_models_counts_nothing(stage: Stage) -> None:
    await stage.start(document(await stage.upstream(chunked(b"data: [DONE]\n\n")), dialect="plain"))
    assert (await stage.ask(body=BODY)).body == b"data: [DONE]\n\n"
    row = await stage.row()
    assert (row.outcome, row.tokens_source) == ("complete", "none")

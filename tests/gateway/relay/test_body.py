import asyncio
import json
from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.faults import BodyTooLarge
from gateway.http.head import read_head
from gateway.relay.body import BodyReader, forwarded_body, rename_model
from gateway.relay.dialect.kind import AUDIO, CHAT
from gateway.relay.registry import Registry
from gateway.settings.schema import Model

REGISTRY = Registry({"m": Model(backend="b", cost=0.5), "nick": Model(alias="m"), "free-*": Model(backend="b", cost=0)})

FORM = (
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n\xff\xfb\r\n'
    b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n--b--\r\n'
)
FORM_TYPE = (b"content-type", b"multipart/form-data; boundary=b")


class Upload:
    """The request, as far as a body reader looks at it."""

    def __init__(self, body: bytes, pieces: int = 1) -> None:
        self._body = body
        self._pieces = pieces
        self.head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a"), FORM_TYPE])
        self.complete = pieces == 1
        self._sent = 0

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        size = -(-len(self._body) // self._pieces)
        while self._sent < len(self._body):
            piece = self._body[self._sent : self._sent + size]
            self._sent += size
            self.complete = self._sent >= len(self._body)
            yield piece

    async def read(self, limit: int) -> bytes:
        if len(self._body) > limit:
            raise BodyTooLarge(limit)
        return self._body


def exchange(body: bytes, *headers: tuple[bytes, bytes], pieces: int = 1) -> Exchange:
    head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a"), *headers])
    made = Exchange("id", head, head.method, head.path, 0.0)
    made.request = Upload(body, pieces)
    return made


def read(made: Exchange, registry: Registry | None = REGISTRY, limit: int = 10_000) -> Exchange:
    made.cost = 2000
    asyncio.run(BodyReader(limit, 8, registry).read(made))
    return made


@pytest.mark.parametrize(
    ("body", "model", "asked", "stream", "cost"),
    [
        ({"model": "m"}, "m", "m", False, 1000),
        ({"model": "nick", "stream": True}, "m", "nick", True, 1000),
        ({"model": "free-1", "stream": None}, "free-1", "free-1", False, 0),
        ({"model": "unknown", "stream": False}, "", "unknown", False, 2000),  # refused later; charged as its route
    ],
)
def test_a_body_that_leads_to_a_model(body: dict[str, Any], model: str, asked: str, stream: bool, cost: int) -> None:
    made = read(exchange(json.dumps(body).encode()))
    assert (made.model, made.model_asked, made.stream, made.cost) == (model, asked, stream, cost)
    assert made.fields is not None and made.fields.keys() == body.keys()


@pytest.mark.parametrize(
    ("body", "number", "param"),
    [
        (b"{}", 1213, "model"),
        (b'{"model":3}', 1214, "model"),
        (b'{"model":null}', 1214, "model"),
        (b'{"model":"../x"}', 1214, "model"),
        (b'{"model":""}', 1214, "model"),
        (b'{"model":"m","stream":"yes"}', 1214, "stream"),
        (b'{"model":"m","stream":1}', 1214, "stream"),
        (b"", 1210, None),
        (b"[]", 1210, None),
        (b'{"model":"m","model":"m"}', 1211, "model"),
        (b'{"model":"m","a":[[[[[[[[]]]]]]]]}', 1212, None),
    ],
)
def test_a_body_that_leads_nowhere_is_refused(body: bytes, number: int, param: str | None) -> None:
    with pytest.raises(GatewayError) as caught:
        read(exchange(body))
    assert (caught.value.number, caught.value.param) == (number, param)


def test_a_body_that_is_for_no_model_is_anything() -> None:
    made = read(exchange(b"\xff[[["), None)
    assert (made.body, made.fields, made.model, made.cost) == (b"\xff[[[", None, "", 2000)


@pytest.mark.parametrize(("coding", "number"), [(b"gzip", 1215), (b"br", 1215), (b"identity", 0), (b"IDENTITY", 0)])
def test_only_plain_bodies_can_be_looked_at(coding: bytes, number: int) -> None:
    made = exchange(b'{"model":"m"}', (b"content-encoding", coding))
    if number:
        with pytest.raises(GatewayError) as caught:
            read(made)
        assert caught.value.number == number
    else:
        assert read(made).model == "m"


def test_the_limit_is_the_readers() -> None:
    with pytest.raises(BodyTooLarge):
        read(exchange(b'{"model":"m"}'), limit=12)


def test_what_goes_on_is_what_came_unless_it_was_changed() -> None:
    body = b'{ "model" : "m", "n": 1.0 }'
    made = read(exchange(body))
    assert forwarded_body(made) is body
    made.set_field("model", "other")
    assert forwarded_body(made) == b'{"model":"other","n":1.0}'
    assert forwarded_body(Exchange("id", made.head, "GET", "/", 0.0)) == b""


@pytest.mark.parametrize("registry", [None, REGISTRY])
def test_a_signed_body_is_the_one_that_came(registry: Registry | None) -> None:
    body = b'{"model": "m"}'

    async def check(signed: bytes | None, *, is_read: bool = False) -> Exchange:
        made, reader = exchange(body), BodyReader(100, 8, registry)
        if is_read:
            await reader.read(made)
        made.body_digest = None if signed is None else sha256(signed).digest()
        await reader.check_digest(made)
        return made

    assert asyncio.run(check(None)).body is None  # nobody signed it: it is left alone
    for is_read in (False, True):
        assert asyncio.run(check(body, is_read=is_read)).body == body
        with pytest.raises(GatewayError) as caught:
            asyncio.run(check(b'{"model": "n"}', is_read=is_read))
        assert caught.value.number == 1010


def test_a_body_is_read_once() -> None:
    made = exchange(b'{"model": "m"}')
    reader = BodyReader(100, 8, REGISTRY)
    made.cost = 2000

    async def run() -> None:
        await reader.read(made)
        await reader.read(made)

    asyncio.run(run())
    assert made.cost == 1000


def test_a_form_leads_to_its_model_and_goes_on_as_it_came() -> None:
    made = exchange(FORM % b"nick", FORM_TYPE)
    made.dialect = AUDIO
    read(made)
    assert (made.model_asked, made.model, made.stream, made.cost, made.fields) == ("nick", "m", False, 1000, None)
    assert forwarded_body(made) == FORM % b"nick"
    rename_model(made, "whisper-large")
    assert forwarded_body(made) == FORM % b"whisper-large"


@pytest.mark.parametrize("model", [b"../x", b"m\r\n", b""])
def test_a_form_cannot_ask_for_what_is_no_model(model: bytes) -> None:
    made = exchange(FORM % model, FORM_TYPE)
    made.dialect = AUDIO
    with pytest.raises(GatewayError) as caught:
        read(made)
    assert (caught.value.number, caught.value.param) == (1214, "model")


def test_a_form_is_no_chat() -> None:
    made = exchange(FORM % b"m", FORM_TYPE)
    made.dialect = CHAT
    with pytest.raises(GatewayError) as caught:
        read(made)
    assert caught.value.number == 1210


def upload(
    body: bytes, pieces: int, *, holds: bool = False, digest: bytes | None = None, limit: int = 10_000
) -> Exchange:
    made = exchange(body, FORM_TYPE, pieces=pieces)
    made.dialect, made.body_digest = AUDIO, digest
    asyncio.run(BodyReader(limit, 8, REGISTRY, holds).read(made))
    return made


async def collect(made: Exchange) -> bytes:
    return b"".join([piece async for piece in made.upload.chunks()])


@pytest.mark.parametrize("file_first", [True, False])
def test_a_form_that_still_arrives_goes_on_from_where_its_model_is_known(file_first: bool) -> None:
    file, model = (b"--b" + part for part in FORM.split(b"--b")[1:3])
    parts = [file.replace(b"\xff\xfb", b"ID3" * 1000), model % b"nick"]
    body = b"".join(parts if file_first else parts[::-1]) + b"--b--\r\n"
    made = upload(body, 1000)
    assert (made.model, made.body, made.fields) == ("m", None, None)
    assert file_first or len(made.upload._held) < 200
    rename_model(made, "another-name")
    assert made.upload.growth == 8
    assert asyncio.run(collect(made)) == body.replace(b"nick", b"another-name")


@pytest.mark.parametrize("more", [b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n', b"--b-"])
def test_what_comes_behind_the_model_is_checked_as_it_goes_on(more: bytes) -> None:
    made = upload((FORM % b"m").replace(b"--b--\r\n", more + b"--b--\r\n"), 200)
    with pytest.raises(GatewayError) as caught:
        asyncio.run(collect(made))
    assert caught.value.number in (1211, 1222)


def test_a_form_without_an_end_goes_nowhere() -> None:
    with pytest.raises(GatewayError):
        asyncio.run(collect(upload((FORM % b"m").removesuffix(b"--b--\r\n") + b"more", 200)))


def test_the_limit_holds_for_the_whole_form() -> None:
    made = upload(FORM % b"m" + b"\r\n", 200, limit=len(FORM % b"m") - 4)
    with pytest.raises(BodyTooLarge):
        asyncio.run(collect(made))


@pytest.mark.parametrize("why", [{"holds": True}, {"digest": b"x"}])
def test_a_form_is_held_where_somebody_wants_it_whole(why: Any) -> None:
    made = upload(FORM % b"m", 50, **why)
    assert (made.upload, made.body) == (None, FORM % b"m")

"""Forms as clients send them, and forms in which two servers could find two models."""

import secrets
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.relay.dialect.form import FormReader, is_form, rename_model

TYPE = b"multipart/form-data; boundary=b1"
FILE = b'--b1\r\nContent-Disposition: form-data; name="file"; filename="a b;c.mp3"\r\nContent-Type: audio/mpeg\r\n\r\n'
END = b"--b1--\r\n"


def field(name: str, text: bytes) -> bytes:
    return b'--b1\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (name.encode(), text)


MODEL = field("model", b"whisper-1")


def read_form(kind: bytes, *pieces: bytes) -> FormReader:
    reader = FormReader(kind)
    for piece in pieces:
        reader.feed(piece)
    reader.finish()
    return reader


def read(body: bytes) -> FormReader:
    return read_form(TYPE, body)


def model_of(reader: FormReader) -> str:
    assert reader.model is not None
    return reader.model.text.decode()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_model_is_found_wherever_it_stands(order: int) -> None:
    parts = [FILE + b"ID3\x00\r\n--b\r\n\r\n" + secrets.token_bytes(100_000) + b"\r\n", field("prompt", b"hm")]
    parts.insert(order, MODEL)
    body = b"".join(parts) + END
    form = read(body)
    assert (model_of(form), form.stream) == ("whisper-1", False)
    assert form.model is not None and body[form.model.start :].startswith(b"whisper-1\r\n")


@given(st.data())
def test_a_form_is_read_the_same_however_it_is_cut(data: st.DataObject) -> None:
    body = FILE + b"ID3\r\n--b\r\n\r\n--" * 9 + b"\r\n" + MODEL + field("stream", b"true") + field("x", b"") + END
    places = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    form = read_form(TYPE, *pieces)
    assert (model_of(form), form.stream, form.model) == ("whisper-1", True, read(body).model)


def test_s42_no_more_of_a_form_is_kept_than_must_be() -> None:
    reader = FormReader(TYPE)
    for piece in (MODEL, FILE, *[secrets.token_bytes(10_000)] * 100):
        reader.feed(piece)
        assert len(reader._rest) < 100
    reader.feed(b"\r\n" + END)
    reader.finish()


@pytest.mark.parametrize(("text", "stream"), [(b"true", True), (b"True", True), (b"1", True), (b"false", False)])
def test_a_form_says_whether_it_wants_a_stream(text: bytes, stream: bool) -> None:
    assert read(MODEL + field("stream", text) + END).stream == stream


@given(st.binary(max_size=200).filter(lambda content: b"--b1" not in content), st.sampled_from(["m", "org/x:1", "ü"]))
def test_only_the_model_is_renamed(content: bytes, name: str) -> None:
    before, after = FILE + content + b"\r\n", field("language", content) + END
    assert rename_model(TYPE, before + MODEL + after, name) == before + field("model", name.encode()) + after


def test_what_clients_send_is_read() -> None:
    request = httpx.Request(
        "POST", "http://a/", data={"model": "whisper-1", "stream": "true", "include[]": ["logprobs"]},
        files={"file": ("größe.mp3", b"ID3", "audio/mpeg")},
    )  # fmt: skip
    form = read_form(request.headers["content-type"].encode(), request.read())
    assert (model_of(form), form.stream) == ("whisper-1", True)


@pytest.mark.parametrize(
    ("kind", "body", "number"),
    [
        (TYPE, END, 1222),
        (TYPE, b"", 1222),
        (TYPE, field("other", b"x") + END, 1213),
        (TYPE, MODEL + MODEL + END, 1211),
        (TYPE, MODEL + field("stream", b"true") + field("stream", b"false") + END, 1211),
        (TYPE, FILE.replace(b'"file"', b'"model"') + b"x\r\n" + END, 1214),
        (TYPE, field("model", b"x" * 2000) + END, 1214),
        (TYPE, MODEL, 1222),  # it has no end
        (TYPE, MODEL + END + b"more", 1222),
        (TYPE, b"preamble\r\n" + MODEL + END, 1222),
        (TYPE, MODEL.replace(b"\r\n", b"\n") + END, 1222),
        (TYPE, FILE + b"a\n--b1\nb\r\n" + MODEL + END, 1222),  # a boundary to those who take LF alone
        (TYPE, FILE + b"a--b1\r\n" + MODEL + END, 1222),
        (TYPE, FILE + b"a\r\n--b1x\r\n" + MODEL + END, 1222),
        (TYPE, FILE + b"a\r\n--b1 \r\n\r\n" + MODEL + END, 1222),
        (TYPE, MODEL.replace(b'name="model"', b"name*=utf-8''model") + END, 1222),
        (TYPE, MODEL.replace(b'"model"', b'"model"; name="other"') + END, 1222),
        (TYPE, MODEL.replace(b'"model"', b'"mod\\el"') + END, 1222),
        (TYPE, MODEL.replace(b"\r\n\r\n", b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n') + END, 1222),
        (TYPE, MODEL.replace(b"form-data", b"attachment") + END, 1222),
        (TYPE, MODEL.replace(b'"model"', b'"mo\ndel"') + END, 1222),
        (TYPE, field("x", b"") * 300 + MODEL + END, 1222),
        (b"multipart/form-data", MODEL + END, 1222),
        (b"multipart/form-data; boundary=b2; boundary=b1", MODEL + END, 1222),
        (b'multipart/form-data; boundary="b\\1"', MODEL + END, 1222),
        (b"multipart/form-data; boundary=" + b"b" * 71, MODEL + END, 1222),
    ],
)
def test_s42_what_could_be_read_in_two_ways_is_refused(kind: bytes, body: bytes, number: int) -> None:
    with pytest.raises(GatewayError) as caught:
        read_form(kind, body)
    assert caught.value.number == number


@pytest.mark.parametrize("boundary", [b"b1", b'"b1"', b"b1 "])
def test_a_boundary_may_be_quoted(boundary: bytes) -> None:
    assert read_form(b"Multipart/Form-Data;boundary=" + boundary, MODEL + END).model is not None


@given(
    st.lists(st.sampled_from([MODEL, FILE, END, b"--b1", b"\r\n", b"x", b"--", b"\n", b'name="model"', b"\r\n\r\n"]))
)
def test_anything_is_read_or_refused(parts: list[bytes]) -> None:
    body = b"".join(parts)
    try:
        form = read(body)
    except GatewayError as error:
        assert error.number in (1211, 1213, 1214, 1222)
    else:
        assert body.count(b'name="model"') >= 1 and model_of(form).startswith("whisper-1")


@pytest.mark.parametrize(
    ("kind", "is_one"), [(TYPE, True), (b"Multipart/Form-Data", True), (b"application/json", False), (None, False)]
)
def test_which_bodies_are_forms(kind: Any, is_one: bool) -> None:
    assert is_form(kind) == is_one

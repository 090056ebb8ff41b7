"""Forms that are larger than anybody wants to hold, and what may stand at their end."""

import psutil
import pytest

from tests.e2e.wire import Answer, Line, bearer, encode, row_of
from tests.faults.origin import Origin
from tests.faults.recording import answer_of
from tests.harness import Gateway, eventually

SIZE = 8_000_000
PATH = "/v1/audio/transcriptions"


def part(head: bytes, content: bytes) -> bytes:
    return b"--b0\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (head, content)


MODEL = part(b'name="model"', b"nick")
FILE = part(b'name="file"; filename="a.mp3"', b"\xff\xfb" * (SIZE // 2))


@pytest.fixture
def gateway(speaking: Gateway) -> Gateway:
    return speaking


def begin(gateway: Gateway, line: Line, body: bytes, *, chunked: bool = False) -> str:
    """The head of an upload of `body`, which the caller sends; its X-Request-ID."""
    kind = {"Content-Type": "multipart/form-data; boundary=b0", "X-Fault": "recorded; name=transcription"}
    framing = {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(len(body))}
    head, request_id = encode("POST", PATH, bearer(gateway.key("monthly"), **kind, **framing))
    line.send(head)
    return request_id


def sent_on(origin: Origin, request_id: str) -> list[bytes]:
    entries = origin.entries()
    return [entry.body.encode("latin-1") for entry in entries if f"x-request-id: {request_id}\r\n" in entry.head]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_form_goes_on_while_it_arrives(gateway: Gateway, origin: Origin, chunked: bool) -> None:
    body = MODEL + FILE + b"--b0--\r\n"
    process = psutil.Process(gateway.workers()[0])
    before = process.memory_info().rss
    with Line(gateway.address) as line:
        request_id = begin(gateway, line, body, chunked=chunked)
        for at in range(0, len(body), 500_000):
            piece = body[at : at + 500_000]
            line.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            assert process.memory_info().rss - before < SIZE // 2
        if chunked:
            line.send(b"0\r\n\r\n")
        answer = line.read("POST", request_id)
    assert (answer.status, answer.body) == (200, answer_of("transcription"))
    assert sent_on(origin, request_id) == [body.replace(b"nick", b"as-the-server-says")]
    row = row_of(gateway, request_id)
    assert (row["outcome"], row["model"], row["tokens_in"]) == ("complete", "origin", 14)


@pytest.mark.parametrize(("end", "number"), [(MODEL + b"--b0--\r\n", 1211), (b"--b0--more", 1222)])
def test_a_form_that_turns_out_to_be_ambiguous_never_arrives_whole(
    gateway: Gateway, origin: Origin, end: bytes, number: int
) -> None:
    body = MODEL + FILE + end
    with Line(gateway.address) as line:
        request_id = begin(gateway, line, body)
        line.send(body[:-20])
        line.send(body[-20:])
        answer: Answer = line.read("POST", request_id)
    assert (answer.status, answer.error) == (400, number)
    assert row_of(gateway, request_id)["units"] == 0
    assert sent_on(origin, request_id) == []


def test_a_client_that_leaves_in_the_middle_of_a_form(gateway: Gateway, origin: Origin) -> None:
    body = MODEL + FILE
    with Line(gateway.address) as line:
        request_id = begin(gateway, line, body + b"--b0--\r\n")
        line.send(body[: SIZE // 2])
    row = eventually(lambda: gateway.query("SELECT * FROM requests WHERE request_id = ?", request_id))[0]
    assert row["outcome"] in ("left", "left_waiting")
    assert sent_on(origin, request_id) == []

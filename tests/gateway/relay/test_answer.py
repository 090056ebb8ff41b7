"""An answer on its way down, piece by piece, with a pen that only notes what is written."""

import time
from types import SimpleNamespace
from typing import Any

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Reply
from gateway.http.head import read_head
from gateway.relay.answer import HOLD, Answer
from gateway.relay.chain import Chain
from gateway.relay.dialect.kind import CHAT
from gateway.usage import Usage

DELTA = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"


class Pen:
    """The request, as far as an answer writes to it: every call in order."""

    def __init__(self, method: str) -> None:
        self.head = SimpleNamespace(method=method)
        self.calls: list[tuple[Any, ...]] = []
        self.started = False
        self.connection = SimpleNamespace(loop=SimpleNamespace(time=time.monotonic))

    def begin(self, status: int, headers: Any, length: int | None, extra: bytes) -> None:
        self.started = True
        self.calls.append(("begin", status, length))

    def respond(self, status: int, headers: Any, body: bytes, extra: bytes) -> None:
        self.started = True
        self.calls.append(("respond", status, body))

    def write(self, data: bytes) -> None:
        self.calls.append(("write", data))

    def end(self) -> None:
        self.calls.append(("end",))

    def abort(self) -> None:
        self.calls.append(("abort",))


class Desk:
    """One answer, and what is told of it."""

    def __init__(self, length: int | None = None, chunk: Any = None, method: str = "POST") -> None:
        head = read_head(method.encode(), b"/x", "1.1", [(b"host", b"a")])
        self.exchange = Exchange("rid", head, method, "/x", 0.0)
        self.pen = self.exchange.request = Pen(method)
        self.exchange.reply = Reply(200)
        self.exchange.dialect = CHAT
        self.progress: list[tuple[int, int]] = []
        chain = Chain((), (), (chunk,) if chunk else (), (), False, not chunk, ())
        self.answer = Answer(self.exchange, chain, length, self._progressed, lambda _: None)

    def _progressed(self, exchange: Exchange, tokens: int) -> None:
        self.progress.append((exchange.sent, tokens))

    def finish(self) -> None:
        self.answer.close(self.answer.take_last(), lambda: self.pen.calls.append(("conclude",)))


def test_a_held_answer_leaves_in_one_piece_after_its_row() -> None:
    desk = Desk(length=6)
    desk.answer.hold()
    desk.answer.feed(b"abc")
    desk.answer.feed(b"def")
    assert desk.pen.calls == []
    desk.finish()
    assert desk.pen.calls == [("conclude",), ("respond", 200, b"abcdef")]
    assert desk.exchange.sent == 6


def test_what_is_too_large_to_be_held_streams() -> None:
    desk = Desk(length=HOLD + 2)
    desk.answer.hold()
    desk.answer.feed(b"x" * HOLD)
    assert desk.pen.calls == []
    desk.answer.feed(b"y")
    assert [call[0] for call in desk.pen.calls] == ["begin", "write"]
    assert desk.pen.calls[0] == ("begin", 200, HOLD + 2)
    desk.answer.feed(b"z")
    desk.finish()
    assert [call[0] for call in desk.pen.calls[2:]] == ["write", "conclude", "write", "end"]
    assert desk.exchange.sent == HOLD + 2


@pytest.mark.parametrize("cut", [1, 7, 1000, 4096])
def test_usage_is_found_at_the_end_however_it_is_cut(cut: int) -> None:
    body = b"x" * (HOLD + 1) + b'"],"usage":{"prompt_tokens":9}}'
    desk = Desk()
    desk.answer.hold()
    desk.answer.feed(body[:HOLD])
    for start in range(HOLD, len(body), cut):
        desk.answer.feed(body[start : start + cut])
    assert desk.answer.usage() == Usage(9)


def test_other_answers_pass_as_they_come() -> None:
    desk = Desk(length=4)
    desk.answer.feed(b"ab")
    desk.answer.feed(b"cd")
    desk.finish()
    assert desk.pen.calls == [
        ("begin", 200, 4), ("write", b"ab"), ("write", b"cd"), ("conclude",), ("write", b""), ("end",),
    ]  # fmt: skip


def test_the_end_marker_leaves_after_the_row() -> None:
    desk = Desk(length=100)
    desk.answer.watch(strip_usage=True)
    desk.answer.feed(DELTA + DONE)
    assert desk.pen.calls == [("begin", 200, None), ("write", DELTA)], "a length would be a promise"
    desk.finish()
    assert desk.pen.calls[2:] == [("conclude",), ("write", DONE), ("end",)]
    assert desk.answer.delivered() == 1


def test_a_stream_without_any_event_is_a_failure() -> None:
    desk = Desk()
    desk.answer.watch(strip_usage=False)
    with pytest.raises(GatewayError) as caught:
        desk.answer.take_last()
    assert caught.value.number == 1710


def test_a_plugin_that_changes_pieces_makes_the_length_unknown() -> None:
    desk = Desk(length=2, chunk=lambda exchange, data: data * 2)
    desk.answer.feed(b"ab")
    desk.finish()
    assert desk.pen.calls[:2] == [("begin", 200, None), ("write", b"abab")]
    assert desk.exchange.sent == 4


def test_head_has_no_body_and_the_length_that_get_would_have() -> None:
    desk = Desk(length=12, method="HEAD")
    desk.finish()
    assert desk.pen.calls == [("conclude",), ("begin", 200, 12), ("end",)]


@pytest.mark.parametrize("stream", [True, False])
def test_an_answer_that_breaks_never_ends(stream: bool) -> None:
    desk = Desk(length=100)
    if stream:
        desk.answer.watch(strip_usage=False)
    desk.answer.feed(DELTA)
    desk.answer.break_off(GatewayError(1705))
    calls = desk.pen.calls[2:]
    assert calls[-1] == ("abort",) and ("end",) not in calls
    assert (len(calls) == 2 and b'"number":1705' in calls[0][1]) if stream else len(calls) == 1


def test_progress_is_told_about_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Desk()
    now = [100.0]
    desk.answer._now = lambda: now[0]
    desk.answer.watch(strip_usage=False)
    for _ in range(35):
        desk.answer.feed(DELTA)
        now[0] += 0.1
    assert 2 <= len(desk.progress) <= 4
    assert [tokens for _, tokens in desk.progress] == sorted(tokens for _, tokens in desk.progress)
    sent, tokens = desk.progress[0]
    assert sent > 0 and 9 <= tokens <= 13


SAID = b'{"message":{"content":"\\"model\\":\\"theirs\\""}}'
NAMED = b'{"id":"c","model":"theirs","choices":[%b],"usage":{"prompt_tokens":3}}' % SAID


@pytest.mark.parametrize("space", [b"", b" "])
def test_a_model_is_called_what_it_is_called_here(space: bytes) -> None:
    sent = NAMED.replace(b":", b":" + space)
    desk = Desk(length=len(sent))
    desk.exchange.model = "ours-of-another-length"
    desk.answer.rename("theirs")
    desk.answer.hold()
    desk.answer.feed(sent)
    desk.answer.close(desk.answer.take_last(), lambda: None)
    told = sent.replace(b'"theirs"', b'"ours-of-another-length"')
    assert desk.pen.calls == [("respond", 200, told)]
    assert b'\\"theirs\\"' in told, "texts stay as they are"
    usage = desk.answer.usage()
    assert usage is not None and usage.prompt_tokens == 3


def test_a_model_has_one_name_all_through_a_stream() -> None:
    event = b'data: {"model":"theirs","choices":[{"delta":{"content":"x"},"finish_reason":null}]}\n\n'
    sent = event * 3 + DONE
    desk = Desk()
    desk.exchange.model = "ours"
    desk.answer.watch(False)
    desk.answer.rename("theirs")
    for at in range(0, len(sent), 7):
        desk.answer.feed(sent[at : at + 7])
    desk.answer.close(desk.answer.take_last(), lambda: None)
    written = b"".join(call[1] for call in desk.pen.calls if call[0] == "write")
    assert written == sent.replace(b"theirs", b"ours")

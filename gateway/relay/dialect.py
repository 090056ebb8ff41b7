"""How a family of model APIs speaks: where usage stands, how a stream ends, what an error looks like inside a stream.

`EventStream` watches a body of server-sent events go by. It hands every byte on unchanged, except that it holds back
the end marker until the upstream's message is truly over, and takes out the usage chunk that only we asked for.
"""

import json
import re

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Tokens
from gateway.wire import Usage, read_event

_DONE = b"[DONE]"
_ENDS = (b"\n\n", b"\n\r\n")  # an empty line; lines end in LF or CRLF, and a stream may mix them
_blank_line = re.compile(rb"\r?\n\r?\n")
_UNFINISHED = (b":null", b": null")
_HOLD = 65_536  # bytes that are held back at the most


class EventStream:
    """One stream of OpenAI-style events. `strip`: take out a chunk that carries usage and no choices.

    `feed` returns what may go to the client now; `finish` the rest, when the upstream's message is complete. Bytes go
    unchanged even if they are no events at all.
    """

    __slots__ = ("_held", "_strip", "done", "events", "failed", "finished", "speaks", "usage")

    def __init__(self, strip: bool) -> None:
        self._strip = strip
        self._held = b""
        self.events = 0  # whole events handed on
        self.speaks = False  # it is a stream of choices
        self.finished = False  # a finish_reason was seen
        self.done = False  # the end marker was seen
        self.failed = False  # an error stood inside the stream
        self.usage: Usage | None = None

    def feed(self, data: bytes) -> bytes:
        if self._held:
            data = self._held + data
            self._held = b""
        if self.done:
            return self._hold_from(0, data)
        if not data.endswith(_ENDS):
            data = self._hold_from(max([data.rfind(end) + len(end) for end in _ENDS if end in data], default=0), data)
            if not data:
                return b""
        if not self.finished:
            self._overhear(data)
        if b'"usage":{' in data or b'"usage": {' in data or b'"error"' in data or _DONE in data:
            data = self._examine(data)
        else:
            self.events += data.count(b"\n\n") or data.count(b"\n\r\n")
        return data

    def finish(self) -> bytes:
        """What was held back, the end marker among it. To be called only when the message ended as announced."""
        held, self._held = self._held, b""
        if not self.done and held.strip():
            self._overhear(held)
            is_wanted = self._keeps(held)  # the last event lacks its empty line, or all lines end in CR alone
            self.done = self.done or held.rstrip().endswith(_DONE)
            return held if is_wanted else b""
        return held

    @property
    def is_cut(self) -> bool:
        """Whether a stream of choices ended without saying that it is over (HTTP/1.0 servers cannot say otherwise)."""
        return self.speaks and not (self.finished or self.done or self.failed)

    def _overhear(self, data: bytes) -> None:
        """Note what can be told without looking at single events."""
        if not self.speaks and b'"choices"' in data:
            self.speaks = True
        at = data.rfind(b'"finish_reason"')
        if at >= 0 and not data.startswith(_UNFINISHED, at + 15):
            self.finished = True

    def _hold_from(self, end: int, data: bytes) -> bytes:
        """Keep what begins at `end` for later, unless it is too much; the rest goes on."""
        if len(data) - end > _HOLD:
            return data
        self._held = data[end:]
        return data[:end]

    def _examine(self, data: bytes) -> bytes:
        """Look at each event of `data`; keep what goes on now."""
        kept: list[bytes] = []
        start = 0
        for blank in _blank_line.finditer(data):
            is_wanted = self._keeps(data[start : blank.start()])
            if self.done:
                self._held = data[start:] + self._held
                return b"".join(kept)
            if is_wanted:
                self.events += 1
                kept.append(data[start : blank.end()])
            start = blank.end()
        kept.append(data[start:])
        return b"".join(kept)

    def _keeps(self, event: bytes) -> bool:
        """Note what an event says; whether the client is to see it."""
        at = event.find(b"data:")
        data = event[at + 5 :].strip() if at >= 0 else b""
        if data == _DONE:
            self.done = True
            return True
        payload = read_event(data) if data else None
        if payload is None:
            return True
        if payload.usage is not None:
            self.usage = payload.usage.after(self.usage)
        if payload.error is not None:
            self.failed = True
        return not (self._strip and payload.usage is not None and payload.choices == [])


def ask_for_usage(exchange: Exchange, reports: bool) -> None:
    """Have the engine report usage on a stream; remember whether the client wanted to see it."""
    assert exchange.fields is not None
    raw = exchange.fields.get("stream_options")
    options = json.loads(bytes(raw)) if raw is not None else None
    if options is not None and not isinstance(options, dict):
        raise GatewayError(1214, "stream_options must be an object.", param="stream_options")
    exchange.client_wants_usage = bool(options and options.get("include_usage"))
    if exchange.stream and reports and not exchange.client_wants_usage:
        exchange.set_field("stream_options", {**(options or {}), "include_usage": True})


def error_event(error: GatewayError, request_id: str) -> bytes:
    """The failure as one event inside a stream that has begun. OpenAI clients raise on it; no end marker follows."""
    return b"data: " + error.body(request_id) + b"\n\n"


def count_tokens(exchange: Exchange, usage: Usage | None, delivered: int) -> None:
    """Fill the exchange's tokens: the engine's figures where present, else an estimate.

    `delivered` is the number of tokens (events with text) or, for a whole body, its estimate. A prompt is estimated
    at four bytes a token.
    """
    tokens = exchange.tokens
    if usage is not None and usage.prompt_tokens is not None:
        tokens.source = "counted"
        tokens.prompt = usage.prompt_tokens
        tokens.completion = usage.completion_tokens or 0
        if usage.prompt_tokens_details is not None:
            tokens.cached = usage.prompt_tokens_details.cached_tokens or 0
    else:
        estimate(exchange, delivered)


def estimate(exchange: Exchange, delivered: int) -> None:
    tokens: Tokens = exchange.tokens
    tokens.source = "estimated"
    tokens.prompt = estimate_prompt(exchange)
    tokens.completion = delivered


def estimate_prompt(exchange: Exchange) -> int:
    """Tokens of the prompt, guessed from the bytes of the fields that hold it."""
    fields = exchange.fields
    if not fields:
        return 0
    prompt = fields.get("messages") or fields.get("prompt") or fields.get("input")
    return (len(memoryview(prompt)) + 3) // 4 if isinstance(prompt, msgspec.Raw) else 0

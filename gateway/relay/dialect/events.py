"""Streams of server-sent events (WHATWG HTML, 9.2), watched as they go by.

Every byte goes on unchanged, except that the end of a stream is held back until the upstream's message is truly over,
the usage chunk that only we asked for is taken out, and an error that no client would understand is said anew.
"""

import re
from collections.abc import Callable
from typing import Any

from gateway.relay.dialect.kind import Dialect
from gateway.relay.dialect.rejection import make_even
from gateway.usage import Event, Usage, find_usage, read_event, read_timings

_DONE = b"[DONE]"
_STATUS = 500  # that an error inside a stream would have had
_ENDS = (b"\n\n", b"\n\r\n")  # an empty line; lines end in LF or CRLF, and a stream may mix them
_blank_line = re.compile(rb"\r?\n\r?\n")
_UNFINISHED = (b":null", b": null")
_PIECES = (".delta", "_block_delta")
_ENDING = 64  # bytes that hold `finish_reason` and its word
_FAILED = frozenset(("error", "response.failed"))
_has_text = re.compile(rb'"(?:content|text|reasoning|reasoning_content|refusal|arguments|name)": ?"[^"]').search
_find_type = re.compile(rb'data: ?\{"type": ?"([a-z_.]+)"').search


def watch_events(dialect: Dialect, strip: bool, request_id: str = "") -> "EventStream":
    """The stream of an answer in `dialect`. `strip`: take out a chunk that carries usage and no choices."""
    if dialect.ends:
        return TypedStream(dialect.ends)
    return EventStream(strip, lambda said: make_even(dialect, _STATUS, said, request_id))


class EventStream:
    """Events of Chat and Completions: choices, one of them with a finish_reason, then `[DONE]`.

    `even` says an error anew, if it must be.
    `feed` returns what may go to the client now; `finish` the rest, when the upstream's message is complete. Bytes go
    unchanged even if they are no events at all.
    """

    __slots__ = (
        "_even",
        "_held",
        "_instead",
        "_strip",
        "_timings",
        "done",
        "ending",
        "events",
        "failed",
        "finished",
        "speaks",
        "usage",
    )

    _most = 65_536  # bytes that are held back

    def __init__(self, strip: bool, even: Callable[[bytes], bytes | None] = lambda _: None) -> None:
        self._even = even
        self._instead: bytes | None = None  # of the event that was looked at last
        self._strip = strip
        self._held = b""
        self._timings: Any = None  # of the last event that has them
        self.events = 0  # whole events handed on, but for a first and a last one without text
        self.speaks = False  # it is a stream of this kind
        self.finished = False  # a finish_reason was seen
        self.ending = b""  # where it is said why the model stopped
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
        return self._read(data)

    def finish(self) -> bytes:
        """What was held back, the end marker among it. To be called only when the message ended as announced."""
        held, self._held = self._held, b""
        is_wanted = True
        if not self.done and held.strip():
            self._overhear(held)
            is_wanted = self._keeps(held)  # the last event lacks its empty line, or all lines end in CR alone
            self.done = self.done or held.rstrip().endswith(_DONE)
            held = self._say(held, b"\n\n")
        self._conclude(held)
        return held if is_wanted else b""

    @property
    def is_cut(self) -> bool:
        """Whether such a stream ended without saying that it is over (HTTP/1.0 servers cannot say otherwise)."""
        return self.speaks and not (self.finished or self.done or self.failed)

    def _read(self, data: bytes) -> bytes:
        """Take note of whole events, or of a part of a very long one; what of them goes on now."""
        if not self.finished and self._overhear(data) and b'"timings"' in data:
            return self._examine(data)
        tells_usage = b'"usage":' in data and (b'"usage":{' in data or b'"usage": {' in data)
        if tells_usage or b'"error"' in data or _DONE in data:
            return self._examine(data)
        self.events += data.count(b"\n\n") or data.count(b"\n\r\n")
        return data

    def _overhear(self, data: bytes) -> bool:
        """Note what can be told without looking at single events; whether the choices end here."""
        if not self.speaks and b'"choices"' in data:
            self.speaks = True
            self.events -= not _has_text(_blank_line.split(data, 1)[0])  # it says who speaks
        at = data.rfind(b'"finish_reason"')
        if at < 0 or data.startswith(_UNFINISHED, at + 15):
            return False
        self.finished = True
        self.ending = data[at : at + _ENDING]
        self.events -= not _has_text(data[max(0, data.rfind(b"data:", 0, at)) :])  # it says why the choice ends
        return True

    def _hold_from(self, end: int, data: bytes) -> bytes:
        """Keep what begins at `end` for later, unless it is too much; the rest goes on."""
        if len(data) - end > self._most:
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
                kept.append(self._say(data[start : blank.end()], blank[0]))
            start = blank.end()
        kept.append(data[start:])
        return b"".join(kept)

    def _keeps(self, event: bytes) -> bool:
        """Note what an event says; whether the client is to see it."""
        payload = self._decode(event)
        is_wanted = True
        if payload is not None:
            if payload.usage is not None:
                self.usage = payload.usage.after(self.usage)
            self._timings = payload.timings or self._timings
            if payload.error is not None:
                self.failed = True
                self._instead = self._even(_data_of(event))
            is_wanted = not (self._strip and payload.usage is not None and payload.choices == [])
        self.events += is_wanted and not self.done
        return is_wanted

    def _decode(self, event: bytes) -> Event | None:
        """What stands in an event, if it is JSON; the end marker is noted."""
        data = _data_of(event)
        if data == _DONE:
            self.done = True
            return None
        return read_event(data) if data else None

    def _say(self, event: bytes, blank: bytes) -> bytes:
        """The event that was looked at last, or what is said instead of it."""
        instead, self._instead = self._instead, None
        return event if instead is None else b"data: " + instead + blank

    def _conclude(self, last: bytes) -> None:
        """The stream is over, `last` is its end: settle what was open."""
        if self.usage is None:
            self.usage = read_timings(self._timings)


def _data_of(event: bytes) -> bytes:
    at = event.find(b"data:")
    return event[at + 5 :].partition(b"\n")[0].strip() if at >= 0 else b""


class TypedStream(EventStream):
    """Events that name their `type`: Responses, Messages, audio, images. One of `ends` is the last.

    `events` counts those that bring a piece (`response.output_text.delta`, `content_block_delta`). What a stream says
    of usage before its end (Messages) is not all of it, and counts only with the end.
    """

    __slots__ = ("_early", "_ends")

    _most = 1_048_576  # the last event of Responses repeats the whole answer

    def __init__(self, ends: frozenset[str]) -> None:
        super().__init__(strip=False)
        self._ends = ends
        self._early: Usage | None = None

    def _read(self, data: bytes) -> bytes:
        if not data.endswith(_ENDS):  # a part of an event that is too long to be held
            found = _find_type(data)
            self.done = self.done or (found is not None and found[1].decode() in self._ends)
            return data
        return self._examine(data)

    def _overhear(self, data: bytes) -> bool:
        """Nothing can be told without looking at single events."""
        return False

    def _keeps(self, event: bytes) -> bool:
        payload = self._decode(event)
        if payload is None or not isinstance(payload.type, str):
            self.failed = self.failed or (payload is not None and payload.error is not None)
            return True
        kind = payload.type
        self.speaks = True
        if kind == "message_delta":
            self.ending = event
        self.events += kind.endswith(_PIECES)
        if payload.usage is not None:
            self._early = payload.usage.after(self._early)
        self.failed = self.failed or kind in _FAILED
        self.done = self.done or kind in self._ends
        return True

    def _conclude(self, last: bytes) -> None:
        if self.done:
            self.usage = self._early or find_usage(last[-2048:])
            self.ending = self.ending or last

"""What was asked and answered, for routes that keep it: redacted, then cut, so that no half of a secret is left.

It is worked out when the request is over, and only for such routes; of a stream the words are collected on the way.
"""

import logging
import re
from collections.abc import Iterable

import msgspec

from gateway.exchange import Exchange
from gateway.journal import Content
from gateway.redaction import Redact
from gateway.relay.dialect.wording import Listener, read_answer, read_piece, split_prompt

_MARGIN = 8192  # characters beyond the bound that are looked at too: what begins before it is seen whole
_TORN = 4096  # characters at the end of what is looked at, where a secret may be torn: they are not kept
_MARK = "…[cut]"
_LEAST = 32  # bytes; less is left for no piece
_control = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")

_log = logging.getLogger("tollkeeper")


class Keeping(msgspec.Struct, frozen=True):
    """How much of prompts and answers a route keeps, in bytes of UTF-8, and what is taken out of them."""

    input: int
    output: int
    redact: Redact


class Transcript:
    """One request's words."""

    __slots__ = ("_heard", "_keeping")

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping
        self._heard: Listener | None = None

    def hear(self, data: bytes) -> None:
        """A piece of a stream that is about to leave for the client."""
        if self._heard is None:
            self._heard = Listener(self._keeping.output + _MARGIN)
        self._heard.feed(data)

    def record(self, exchange: Exchange) -> Content | None:
        """What is to be kept of a request that is over; None where nothing was said. Never raises."""
        try:
            asked, answered = self._tell_input(exchange), self._tell_output(exchange)
        except Exception as error:  # its row must be written, whatever a body holds; and no word of it may be logged
            _log.error("the content of request %s is not kept: %s", exchange.id, type(error).__name__)
            return None
        return Content(exchange.id, asked, answered) if asked or answered else None

    def _tell_input(self, exchange: Exchange) -> str:
        """The last messages of a conversation, as many as have room; of anything else the beginning."""
        if not exchange.fields or exchange.dialect is None:
            return ""
        pieces, is_conversation = split_prompt(exchange.fields), exchange.dialect.converses
        kept, left = [], self._keeping.input
        for piece in reversed(pieces) if is_conversation else pieces:
            if left < _LEAST:
                break
            text = self._clean(read_piece(piece), left)
            left -= len(text.encode()) + 1
            kept.append(text)
        note = [f"[{len(pieces) - len(kept)} left out]"] if len(kept) < len(pieces) else []
        return "\n".join(_filled([*note, *reversed(kept)] if is_conversation else [*kept, *note]))

    def _tell_output(self, exchange: Exchange) -> str:
        reply = exchange.reply
        if self._heard is not None:
            return self._clean(self._heard.text(), self._keeping.output)
        if reply is None or reply.status >= 400 or not isinstance(reply.body, bytes) or exchange.dialect is None:
            return ""
        return self._clean(read_answer(reply.body), self._keeping.output)

    def _clean(self, text: str, most: int) -> str:
        is_torn = len(text) >= most + _MARGIN
        text = self._keeping.redact(_control.sub("", text[: most + _MARGIN]))
        data = (text[:-_TORN] if is_torn else text).encode("utf-8", "ignore")
        if is_torn or len(data) > most:
            return data[: most - len(_MARK.encode())].decode("utf-8", "ignore") + _MARK
        return data.decode()


def _filled(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if text]

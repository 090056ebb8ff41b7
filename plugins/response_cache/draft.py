"""An answer on its way to the client, collected in passing."""

from typing import Any

import msgspec

from gateway.exchange import Credential, Exchange, Outcome, Reply
from plugins.response_cache.entry import Entry

_KEPT = frozenset((b"content-type", b"content-language", b"content-encoding", b"content-disposition"))
_ENDED = (Outcome.COMPLETE, Outcome.UPSTREAM_REJECTED)  # it would end so for everybody
_UNFINISHED = frozenset(("queued", "in_progress", "failed", "cancelled"))


class _Told(msgspec.Struct):
    """What a whole JSON answer says of itself (`status`: OpenAI's Responses)."""

    error: Any = None
    status: Any = None


_told = msgspec.json.Decoder(_Told)


class Draft:
    """What becomes of a request that missed. `leads`: others wait for it; `locked`: other workers as well.

    Of the answer's headers only those are kept that describe its body.
    """

    __slots__ = ("_credential", "_headers", "_limit", "_parts", "is_given_up", "key", "leads", "locked", "size")

    def __init__(self, key: bytes, credential: Credential | None, limit: int) -> None:
        self.key = key
        self.leads = self.locked = False
        self.is_given_up = False  # the answer cannot be kept
        self._credential = credential
        self._headers: tuple[tuple[bytes, bytes], ...] | None = None
        self._limit = limit
        self.size = 0  # bytes collected
        self._parts: list[bytes] = []

    def begin(self, reply: Reply) -> None:
        """The answer's head is here."""
        control = (reply.get(b"cache-control") or b"").lower()
        if reply.status != 200 or reply.get(b"set-cookie") is not None or b"no-store" in control:
            self.give_up()
        self._headers = tuple(field for field in reply.headers if field[0] in _KEPT)

    def add(self, data: bytes) -> None:
        if not self.is_given_up:
            self._parts.append(data)
            self.size += len(data)
            if self.size > self._limit:
                self.give_up()

    def give_up(self) -> None:
        """The answer will not be kept."""
        self.is_given_up = True
        self._parts.clear()
        self.size = 0

    def finish(self, exchange: Exchange, now: float) -> Entry | None:
        """The answer, if it is whole and good. `now` is unix seconds.

        None as well where the caller was identified behind the cache: then it stands at the wrong place of the chain,
        and what it kept would be anybody's.
        """
        is_good = exchange.outcome is Outcome.COMPLETE and exchange.status == 200 and not self.is_given_up
        if not is_good or self._headers is None or exchange.credential is not self._credential:
            return None
        body = b"".join(self._parts)
        if not body or (_is_json(self._headers) and not _is_answer(body)):
            return None
        tokens = exchange.tokens
        figures = (tokens.prompt, tokens.completion, tokens.cached, tokens.source)
        return Entry(now, self._headers, body, figures)

    def has_answer(self, exchange: Exchange) -> bool:
        """Whether the engine has answered: if that cannot be shared, asking one after the other would not help."""
        return exchange.outcome in _ENDED


def _is_json(headers: tuple[tuple[bytes, bytes], ...]) -> bool:
    return dict(headers).get(b"content-type", b"").lower().startswith(b"application/json")


def _is_answer(body: bytes) -> bool:
    """Whether it is valid JSON that tells of no failure and of nothing that is still to come."""
    try:
        told = _told.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return told.error is None and told.status not in _UNFINISHED

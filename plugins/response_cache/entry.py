"""One answer as it is kept."""

from collections.abc import AsyncIterator

import msgspec

from gateway.exchange import Reply, Tokens

_PIECES = 64  # in which a stream is replayed, about
_OVERHEAD = 512  # bytes that an entry takes beside its body


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """`made` is unix seconds; `tokens` are the prompt's, the completion's and the cached ones, and their source."""

    made: float
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    tokens: tuple[int, int, int, str]

    @property
    def size(self) -> int:
        return len(self.body) + _OVERHEAD

    def age(self, now: float) -> float:
        """Seconds since it was made; `now` is unix seconds."""
        return max(0.0, now - self.made)

    def replay(self, now: float, keeps_units: bool) -> Reply:
        """The answer again: a stream as a stream, its events in the same order."""
        reply = Reply(200, [*self.headers, (b"age", b"%d" % self.age(now))], self.body, keeps_units)
        if reply.is_stream:
            reply.body = _stream(self.body)
        return reply

    def count(self, tokens: Tokens) -> None:
        """Fill in the tokens that the answer took when it was made."""
        tokens.prompt, tokens.completion, tokens.cached, tokens.source = self.tokens


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)


def encode_entry(entry: Entry) -> bytes:
    return _encoder.encode(entry)


def decode_entry(data: bytes | None) -> Entry | None:
    """The entry, or None where there is none, or one of another version of the gateway."""
    try:
        return None if data is None else _decoder.decode(data)
    except msgspec.MsgspecError:
        return None


async def _stream(body: bytes) -> AsyncIterator[bytes]:
    """Pieces that end where events end; a short stream event by event."""
    events = body.count(b"\n\n")
    step = events // _PIECES + 1
    start = end = 0
    for number in range(1, events + 1):
        end = body.index(b"\n\n", end) + 2
        if number % step == 0:
            yield body[start:end]
            start = end
    if start < len(body):
        yield body[start:]

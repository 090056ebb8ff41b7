"""How an upstream's answer is read: event by event, held as a whole, as an error, or as it comes."""

from gateway.backend import AnyBackend
from gateway.exchange import Exchange, Reply
from gateway.http.client import UpstreamConnection
from gateway.http.head import ResponseHead
from gateway.relay.dialect.rejection import make_even
from gateway.relay.fitting import find_other_name
from gateway.wire import forget_bytes, is_json

_EVENTS = b"text/event-stream"


def is_error(exchange: Exchange, status: int) -> bool:
    """Whether an answer of `status` is an error that the client is to get in the words of the dialect."""
    return status >= 400 and exchange.dialect is not None and exchange.method != "HEAD"


def is_stream(exchange: Exchange, head: ResponseHead) -> bool:
    """Whether an answer is read event by event."""
    is_read = exchange.dialect is not None and head.status < 400
    return is_read and (head.get(b"content-type") or b"").startswith(_EVENTS)


def is_held(exchange: Exchange, head: ResponseHead) -> bool:
    """Whether an answer is wanted whole: a model's is, unless it is sound or an image."""
    dialect = exchange.dialect
    return dialect is not None and (head.status >= 400 or not dialect.is_media or is_json(head.get(b"content-type")))


def is_whole(exchange: Exchange, connection: UpstreamConnection, head: ResponseHead, backend: AnyBackend) -> bool:
    """Whether all of the answer is here, and it is neither a stream of events nor an error to be made even."""
    if not connection.complete or exchange.method == "HEAD" or is_error(exchange, head.status):
        return False
    return not (is_stream(exchange, head) or exchange.request.started or find_other_name(exchange, backend))


def even_out(exchange: Exchange, reply: Reply, said: bytes) -> None:
    """Put an upstream's error into the words of the dialect. What is compressed was not asked for, and not read."""
    body = make_even(
        exchange.dialect, reply.status, b"" if reply.get(b"content-encoding") else said, exchange.request_id
    )
    if body is not None:
        dropped = (b"content-type", b"content-encoding")
        reply.body = body
        reply.headers = [field for field in forget_bytes(reply.headers) if field[0] not in dropped]
        reply.headers.append((b"content-type", b"application/json"))

"""What the servers of each API really say: recorded answers, whole or broken off, and errors in their shapes."""

from tests.faults.answer import LAST_CHUNK, STREAM_HEAD, chunk, whole
from tests.faults.catalogue import Order, fault
from tests.faults.recording import answer_of, events_of
from tests.faults.wire import Peer, Request

_OLD_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
_CONTEXT = '"the request exceeds the available context size","type":"exceed_context_size_error"'
SHAPES = {
    "text": ("text/plain", "Internal Server Error"),
    "page": ("text/html", "<html><head><title>502 Bad Gateway</title></head></html>"),
    "nothing": ("text/plain", ""),
    "bare": ("application/json", '{"error":"generation thread died"}'),
    "detail": ("application/json", '{"detail":"Invalid API key"}'),
    "validation": ("application/json", '{"detail":[{"type":"missing","loc":["body","input"],"msg":"Field required"}]}'),
    "numbered": ("application/json", '{"error":{"code":404,"message":"File Not Found","type":"not_found_error"}}'),
    "context": ("application/json", f'{{"error":{{"code":400,"message":{_CONTEXT},"n_ctx":4096}}}}'),
    "leaky": ("application/json", '{"error":{"message":"bad: File \\"/opt/a.py\\"","type":"invalid_request_error"}}'),
    "good": ("application/json", '{"error":{"message":"no","type":"invalid_request_error","param":"n","code":null}}'),
}


@fault
async def recorded(peer: Peer, request: Request, order: Order) -> None:
    """The answer called `name`, or its stream, of which `keep` events come before a clean end; `old`: in HTTP/1.0."""
    name, keep = order.text("name", "chat"), int(order.number("keep", -1))
    if "stream" not in order.options:
        await peer.send(whole(answer_of(name)))
        return
    events = [event + b"\n\n" for event in events_of(name)]
    events = events if keep < 0 else events[:keep]
    if "old" in order.options:
        await peer.send(_OLD_HEAD + b"".join(events))
        peer.close()
    else:
        await peer.send(STREAM_HEAD + b"".join(map(chunk, events)) + LAST_CHUNK)


@fault
async def refusal(peer: Peer, request: Request, order: Order) -> None:
    """An error of the given `status` in one of the SHAPES."""
    kind, body = SHAPES[order.text("shape", "text")]
    await peer.send(whole(body.encode(), f"{order.text('status', '500')} Error", kind))

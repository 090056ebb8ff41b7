"""A form that goes on while it still arrives: nobody holds more of it than was read until its model was known."""

from collections.abc import AsyncIterator

from gateway.http.body import RequestBody
from gateway.http.faults import BodyTooLarge
from gateway.relay.dialect.form import FormReader, rename_model


class Upload:
    """`held` is what has been read; `limit` counts the bytes of the whole form."""

    __slots__ = ("_held", "_limit", "_reader", "_request", "_size", "growth")

    def __init__(self, request: RequestBody, reader: FormReader, held: bytes, limit: int) -> None:
        self._request = request
        self._reader = reader
        self._held = held
        self._limit = limit
        self._size = len(held)
        self.growth = 0  # bytes that it becomes longer, or shorter, on its way

    def rename(self, name: str) -> None:
        """Have it ask for the model `name`."""
        content_type = self._request.head.get(b"content-type") or b""
        self._held = rename_model(content_type, self._held, name)
        self.growth = len(self._held) - self._size

    async def chunks(self) -> AsyncIterator[bytes]:
        """The form, once. Raises what the request's own `chunks` does, and GatewayError as `FormReader` does.

        So what is refused at its end has not gone on as a whole.
        """
        size = self._size
        yield self._held
        self._held = b""
        async for piece in self._request.chunks(self._limit):
            size += len(piece)
            if size > self._limit:
                raise BodyTooLarge(self._limit)
            self._reader.feed(piece)
            yield piece
        self._reader.finish()

"""Addresses where no server answers: one that refuses at once, one that never says anything."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager


@contextmanager
def refused() -> Iterator[int]:
    """A port that refuses every connection (F01): bound, so that nobody else gets it, but not listening."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def blackhole() -> Iterator[int]:
    """A port where connecting never ends (F02): its accept queue is full, so Linux drops every further SYN."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # backlog 0 holds one; the rest wait in SYN_SENT and make sure
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]

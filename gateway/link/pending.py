"""An answer that is not there yet."""

import asyncio
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class Pending(Generic[Answer]):
    """Resolved once; the one who waits is told within that call. A handler may return it: it needs no task.

    A future tells a turn of the loop later, and costs three times as much. Who leaves an `await` leaves it as it is;
    who awaits it again takes the place of the one before. What is told must not raise: who resolves has more to do.
    """

    __slots__ = ("_tell", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._tell: Callable[[Answer], object] | None = None

    def resolve(self, value: Answer) -> None:
        self.done = True
        self._value = value
        if self._tell is not None:
            self._tell(value)

    def then(self, tell: Callable[[Answer], object]) -> None:
        """Have `tell` called with the answer; there is one to be told."""
        self._tell = tell
        if self.done:
            tell(self._value)

    def __await__(self) -> Generator[Any, None, Answer]:
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.then(lambda value: None if future.done() else future.set_result(value))
        return future.__await__()

"""The faults by name. A fault is a coroutine that gets the connection and the request and misbehaves.

When it returns with the connection open, the origin reads the next request from it (keep-alive).
"""

from collections.abc import Awaitable, Callable

import msgspec

from tests.faults.wire import Peer, Request


class Order(msgspec.Struct):
    """Which fault a request asks for, and its numbers: `x-fault: drip; interval=0.1; count=5`."""

    name: str
    options: dict[str, str]

    def number(self, name: str, default: float) -> float:
        return float(self.options.get(name, default))

    def text(self, name: str, default: str) -> str:
        return self.options.get(name, default)


Fault = Callable[[Peer, Request, Order], Awaitable[None]]
FAULTS: dict[str, Fault] = {}


def fault(function: Fault) -> Fault:
    """Enter a fault under its function's name, with dashes."""
    FAULTS[getattr(function, "__name__", "").replace("_", "-")] = function
    return function


def read_order(request: Request) -> Order:
    """The header `x-fault`, else the body's field `fault`, else the first segment of the path; else `ok`."""
    asked = request.headers.get("x-fault") or request.fields.get("fault")
    if isinstance(asked, str):
        name, *options = (part.strip() for part in asked.split(";"))
        return Order(name, dict(option.split("=", 1) for option in options))
    name = request.path.split("/")[1]
    return Order(name if name in FAULTS else "ok", request.query)

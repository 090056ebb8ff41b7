"""What an endpoint of the API is. The table of all of them is the API: routes, checks and document are made of it."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

import msgspec

from gateway.control.api.call import Query, Result

Door = Literal["client", "admin"]
Form = Literal["list", "object", "stream"]

BOTH: tuple[Door, ...] = ("client", "admin")
ADMIN: tuple[Door, ...] = ("admin",)


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One method of one path.

    `handler` is `async (Call) -> Listed | Found | StreamResponse`; it raises GatewayError to refuse. `answer` is the
    type of `data`, of one row of it where `form` is list, of one event or line where it is stream. Any one of
    `permissions` suffices; none: everybody who is known may, and with `is_open` those who are not. `errors` are numbers
    of the catalogue that only this handler raises. `media` is what a stream is sent as, where it is
    not events; of another form, what it may be sent as beside JSON.
    """

    method: Literal["GET", "POST", "PUT", "DELETE"]
    path: str
    summary: str
    handler: Callable[[Any], Awaitable[Result]]
    answer: Any = Any
    query: type[Query] = Query
    body: type[msgspec.Struct] | None = None
    permissions: tuple[str, ...] = ()
    is_open: bool = False
    doors: tuple[Door, ...] = BOTH
    form: Form = "object"
    status: int = 200
    errors: tuple[int, ...] = ()
    media: tuple[str, ...] = ()

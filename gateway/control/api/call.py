"""One call of control's API, as the handlers of the surfaces see it, and what they answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Generic, TypeVar

import msgspec
from aiohttp import web
from sqlalchemy import Connection

from gateway.control.api.house import House
from gateway.control.api.scope import Scope, find_scope, holds
from gateway.control.store import Store

LONGEST_PAGE = 1000

T = TypeVar("T")


class Query(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every address takes. `fields` are the members of the data that are wanted: `a,b.c`; empty: all.

    Members of a query are str, int, float, bool, Literal, or tuples of them (`?tag=a&tag=b`).
    """

    fields: str = ""


class Page(Query, frozen=True, kw_only=True):
    """What every list takes."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=LONGEST_PAGE)] = 50
    cursor: str = ""


class Caller(msgspec.Struct, frozen=True):
    """Who calls. `permissions` are patterns; None: no plugin authorizes. `is_admin`: he came by the admin door."""

    consumer: str = ""
    project: str = ""
    role: str = ""
    permissions: frozenset[str] | None = None
    request_id: str = ""
    is_admin: bool = False
    address: str = ""

    def may(self, permission: str) -> bool:
        """Without a plugin that authorizes everybody may, on what is his (`scope`)."""
        return self.is_admin or self.permissions is None or holds(self.permissions, permission)

    def scope(self) -> Scope:
        return find_scope(self.consumer, self.project, self.role, self.permissions, self.is_admin)


Q = TypeVar("Q", bound=Query)
B = TypeVar("B")


class Call(Generic[Q, B]):
    """`path` holds the parts of the address in braces. Times are unix microseconds."""

    def __init__(
        self, caller: Caller, path: Mapping[str, str], query: Q, body: B, house: House, request: web.Request
    ) -> None:
        self.caller = caller
        self.path = path
        self.query = query
        self.body = body
        self.house = house
        self.request = request

    @property
    def store(self) -> Store:
        return self.house.store

    def clock(self) -> int:
        return self.house.clock()

    async def read(self, work: Callable[[Connection], T]) -> T:
        """`work` on a reading connection, in a thread. Raises GatewayError 1605 where the store does not answer."""
        return await self.house.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """`work` in a transaction that writes, in a thread. Raises GatewayError 1605."""
        return await self.house.write(work)


class Listed(msgspec.Struct, frozen=True):
    """A page of a list. `cursor` is where the next one begins; None at the end."""

    rows: Sequence[Any]
    cursor: str | None = None
    has_more: bool = False
    headers: Mapping[str, str] = {}


class Found(msgspec.Struct, frozen=True):
    """One thing. `headers` replace those that every answer has (`Cache-Control: private, no-cache`)."""

    data: Any
    status: int = 200
    headers: Mapping[str, str] = {}


Result = Listed | Found | web.StreamResponse

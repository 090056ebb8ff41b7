"""A request's path, query and body as the shapes of its endpoint."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from multidict import MultiMapping

from gateway.control.api.call import Query
from gateway.errors import GatewayError
from gateway.wire import parse_object

LONGEST_BODY = 1_000_000  # bytes
_DEPTH = 32
_find_param = re.compile(r"(?:`\$\.([\w.\-\[\]]+)`|field `([^`]*)`)").search


def read_path(parts: Mapping[str, str]) -> Mapping[str, str]:
    """What stands in the path. Raises GatewayError 1205: nothing has such a name."""
    if _holds_nul([*parts.values()]):
        raise GatewayError(1205, "The path holds a NUL.")
    return parts


def read_query(shape: type[Query], given: MultiMapping[str]) -> Query:
    """Raises GatewayError 1219: a parameter is unknown, stands twice, or has a value that is not allowed."""
    several = frozenset(_lists(shape))
    plain: dict[str, Any] = {}
    for name in given:
        values = given.getall(name)
        if name not in several and len(values) > 1:
            raise GatewayError(1219, f"The parameter {name[:64]!r} stands twice.", param=name[:64])
        if _holds_nul(values):
            raise GatewayError(1219, f"The parameter {name[:64]!r} holds a NUL.", param=name[:64])
        plain[name] = values if name in several else values[0]
    try:
        return msgspec.convert(plain, shape, strict=False)
    except msgspec.ValidationError as error:
        text, param = _explain(error)
        raise GatewayError(1219, f"The query is not allowed: {text}", param=param) from None


async def read_body(shape: type[msgspec.Struct], request: web.Request) -> Any:
    """The body, which is a JSON object; an empty one is {}. Raises GatewayError 1208, 1210 to 1214."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise GatewayError(1208) from None
    body = body or b"{}"
    parse_object(body, _DEPTH)
    if rb"\u0000" in body and _holds_nul(msgspec.json.decode(body)):
        raise GatewayError(1214, "The body is not allowed: it holds a NUL, which no text of the store can.")
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        text, param = _explain(error)
        number = 1213 if "missing required field" in text else 1214
        raise GatewayError(number, f"The body is not allowed: {text}", param=param) from None


def _holds_nul(value: Any) -> bool:
    """Whether there is one anywhere in it: PostgreSQL's texts cannot hold any."""
    match value:
        case str():
            return "\0" in value
        case dict():
            return any(map(_holds_nul, (*value, *value.values())))
        case list():
            return any(map(_holds_nul, value))
    return False


def _lists(shape: type[Query]) -> Iterable[str]:
    for field in msgspec.inspect.type_info(shape).fields:  # type: ignore[attr-defined]
        if isinstance(field.type, msgspec.inspect.VarTupleType | msgspec.inspect.ListType):
            yield field.encode_name


def _explain(error: msgspec.ValidationError) -> tuple[str, str | None]:
    """msgspec's sentence and the parameter that it is about."""
    text = str(error)
    found = _find_param(text)
    return f"{text}.", (found[1] or found[2]) if found else None

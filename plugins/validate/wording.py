"""What is wrong with a request, in words that name the field by its path and say what it may be."""

import re
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from gateway.errors import GatewayError

_said = re.compile(r"(?s)(.*?)(?: - at `(?:key in )?\$\.?([^`]*)`)?").fullmatch
_missing = re.compile(r"Object missing required field `([^`]*)`").fullmatch
_last_name = re.compile(r"([^.\[\]]+)((?:\[[^\]]*\])*)$").search
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


class Wording:
    """Speaks for one Struct: `explain` turns what msgspec says of it into an error of the catalogue."""

    def __init__(self, shape: type[msgspec.Struct]) -> None:
        self._allowed = dict(_describe_fields(shape, set()))

    def explain(self, error: msgspec.ValidationError) -> GatewayError:
        match = _said(str(error))
        assert match is not None
        what, path = match[1], match[2] or ""
        if (missing := _missing(what)) is not None:
            where = f"{path}.{missing[1]}" if path else missing[1]
            return GatewayError(1213, f"{where} is missing; it must be {self._allowed[missing[1]]}.", param=where)
        name = _last_name(path)
        allowed = self._allowed.get(name[1] + "[]" * bool(name[2])) if name is not None else None
        if allowed is None:
            return GatewayError(1214, f"{path or 'The body'}: {what}.", param=path or None)
        return GatewayError(1214, f"{path} must be {allowed}.", param=path, details={"allowed": allowed})


def _describe_fields(shape: type[msgspec.Struct], seen: set[type]) -> Iterator[tuple[str, str]]:
    """Every field of a Struct and of those inside it, with what it may be."""
    seen.add(shape)
    for field in msgspec.structs.fields(shape):
        for inner in _structs_in(field.type):
            if inner not in seen:
                yield from _describe_fields(inner, seen)
        yield field.encode_name, describe(field.type)
        for element in _elements(field.type):
            if element is not Any:
                yield f"{field.encode_name}[]", describe(element)


def _structs_in(kind: Any) -> Iterator[type[msgspec.Struct]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from _structs_in(part)


def _elements(kind: Any) -> Iterator[Any]:
    """The type of what is in a list or an object, for each that `kind` may be."""
    if get_origin(kind) in (list, dict):
        yield get_args(kind)[-1]
    elif get_origin(kind) in (Union, types.UnionType):
        for part in get_args(kind):
            yield from _elements(part)
    elif hasattr(kind, "__metadata__"):
        yield from _elements(kind.__origin__)


def describe(kind: Any) -> str:
    """A type in words: what a value of it may be."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return " or ".join(describe(part) for part in get_args(kind) if part is not types.NoneType)
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    if hasattr(kind, "__metadata__"):
        (meta,) = kind.__metadata__
        return meta.description or describe(kind.__origin__) + _bounds(meta, kind.__origin__)
    if origin is list:
        return "a list"
    if origin is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return "an object"
    return _WORDS.get(kind, "a value")


def _bounds(meta: msgspec.Meta, kind: Any) -> str:
    members = "characters" if kind is str else "members"
    if meta.gt is not None:
        return f" above {meta.gt} and at most {meta.le}"
    if meta.ge is not None:
        return f" from {meta.ge} to {meta.le}"
    if meta.min_length and meta.max_length:
        return f" of {meta.min_length} to {meta.max_length} {members}"
    return f" of at most {meta.max_length} {members}" if meta.max_length else " that is not empty"

"""Compares plain data with a Struct type and tells everything that does not fit, each with its path.

`msgspec.convert` stops at the first mistake; a person wants to mend all of them at once.
"""

import types
from collections.abc import Iterator
from typing import Any, Literal, TypeGuard, Union, get_args, get_origin

import msgspec

from gateway.settings.problem import Problem, join, suggest


def compare(data: Any, shape: Any, path: str = "") -> Iterator[Problem]:
    """Every problem of `data` as a value of the type `shape`; none means that `msgspec.convert` accepts it."""
    shape = _without_none(shape, data)
    if _is_struct(shape):
        yield from _struct(data, shape, path)
    elif get_origin(shape) is dict:
        yield from _mapping(data, get_args(shape)[1], path)
    elif get_origin(shape) in (list, set, frozenset) or (get_origin(shape) is tuple and get_args(shape)[-1] is ...):
        yield from _list(data, get_args(shape)[0], path)
    else:
        yield from _leaf(data, shape, path)


def convert_unit(kind: Any, value: Any) -> Any:
    """msgspec's `dec_hook` for the types of `units`; raises ValueError with a sentence."""
    return kind.parse(value)


def _is_struct(shape: Any) -> TypeGuard[type[msgspec.Struct]]:
    return isinstance(shape, type) and issubclass(shape, msgspec.Struct)


def _without_none(shape: Any, data: Any) -> Any:
    """`X` for `X | None` when there is a value, or a mapping and no other Struct: a mistake is told in terms of X."""
    if get_origin(shape) in (Union, types.UnionType) and data is not None:
        rest = [part for part in get_args(shape) if part is not types.NoneType]
        if isinstance(data, dict):
            rest = [part for part in rest if _is_struct(part)] or rest
        return rest[0] if len(rest) == 1 else shape
    return shape


def _struct(data: Any, shape: type[msgspec.Struct], path: str) -> Iterator[Problem]:
    if not isinstance(data, dict):
        yield Problem(path, f"must be a mapping, not {_told(data)}")
        return
    fields = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    for key, value in data.items():
        if key in fields:
            yield from compare(value, fields[key].type, join(path, key))
        else:
            yield Problem(join(path, key), f"unknown key `{key}`{suggest(key, fields.keys() - data.keys())}")
    for name, field in fields.items():
        if field.required and name not in data:
            yield Problem(path, f"`{name}` is missing")


def _mapping(data: Any, shape: Any, path: str) -> Iterator[Problem]:
    if not isinstance(data, dict):
        yield Problem(path, f"must be a mapping, not {_told(data)}")
        return
    for key, value in data.items():
        yield from compare(value, shape, join(path, key))


def _list(data: Any, shape: Any, path: str) -> Iterator[Problem]:
    if not isinstance(data, list | tuple):
        yield Problem(path, f"must be a list, not {_told(data)}")
        return
    for at, value in enumerate(data):
        yield from compare(value, shape, join(path, at))


def _leaf(data: Any, shape: Any, path: str) -> Iterator[Problem]:
    try:
        msgspec.convert(data, shape, dec_hook=convert_unit)
    except msgspec.ValidationError as error:
        if getattr(shape, "__origin__", shape) is str and isinstance(data, int | float):
            yield Problem(path, "must be text; put it in quotes")  # without showing it: it may be a secret
        else:
            yield Problem(path, f"must be {wanted}, not {_told(data)}" if (wanted := _wanted(shape)) else str(error))


_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def _wanted(shape: Any) -> str:
    """What a type accepts, in words; nothing where its own message is better."""
    if get_origin(shape) is Literal:
        return f"one of {', '.join(map(str, get_args(shape)))}"
    if get_origin(shape) in (Union, types.UnionType):
        parts = [_wanted(part) for part in get_args(shape) if part is not types.NoneType]
        return " or ".join(parts) if all(parts) else ""
    if _is_struct(shape):
        return "a mapping"
    if hasattr(shape, "__metadata__"):
        return _wanted(shape.__origin__) + "".join(map(_bounds, shape.__metadata__))
    return _NAMES.get(shape, "")


def _bounds(meta: msgspec.Meta) -> str:
    low = "" if meta.ge is None else f" of at least {meta.ge}"
    return low if meta.le is None else f"{low} and at most {meta.le}"


def _told(data: Any) -> str:
    if data is None:
        return "empty"
    if isinstance(data, dict):
        return "a mapping"
    if isinstance(data, list | tuple):
        return "a list"
    if isinstance(data, str):
        return f"the text {data!r}" if len(data) <= 40 else "a long text"
    return {True: "true", False: "false"}[data] if isinstance(data, bool) else repr(data)

"""Forms with files (RFC 7578): which model one asks for.

A form is read strictly, and as a whole: what servers could read differently is refused, so that none of them finds
another model in it than the one that was checked.
"""

import re

import msgspec

from gateway.errors import GatewayError

_PARTS = 200
_LONGEST = 1000  # bytes of a field that is read
_boundary = re.compile(
    rb"""multipart/form-data *; *boundary=(?:"([^"\\]{1,70})"|([0-9a-z'()+_,./:=?-]{1,70})) *""", re.I
)
_disposition = re.compile(rb"content-disposition: *form-data *;(.*)", re.I)
_parameter = re.compile(rb' *([a-z*]+) *= *("[^"]*"|[^ ";]+) *(?:;|$)', re.I)


class Form(msgspec.Struct, frozen=True):
    """What concerns us of a form. `start` and `end` are where the model's name stands in the body."""

    model: str
    start: int
    end: int
    stream: bool = False


def is_form(content_type: bytes | None) -> bool:
    return (content_type or b"").lower().startswith(b"multipart/form-data")


def read_form(content_type: bytes, body: bytes) -> Form:
    """Raises GatewayError 1211 (a field that counts stands twice), 1213 (no model), 1214, 1222 (broken, ambiguous)."""
    found: dict[str, tuple[int, int]] = {}
    for name, is_file, start, end in _split(content_type, body):
        if name not in ("model", "stream"):
            continue
        if name in found:
            raise GatewayError(1211, "A field stands twice in the form.", param=name)
        if is_file or end - start > _LONGEST:
            raise GatewayError(1214, f"{name} must be a short text.", param=name)
        found[name] = (start, end)
    if "model" not in found:
        raise GatewayError(1213, "The form names no model.", param="model")
    texts = {name: body[start:end].decode("utf-8", "replace") for name, (start, end) in found.items()}
    return Form(texts["model"], *found["model"], texts.get("stream", "").lower() in ("true", "1"))


def rename_model(content_type: bytes, body: bytes, name: str) -> bytes:
    """The same form, asking for another model."""
    form = read_form(content_type, body)
    return b"".join((body[: form.start], name.encode(), body[form.end :]))


def _split(content_type: bytes, body: bytes) -> list[tuple[str, bool, int, int]]:
    """The parts of a form: name, whether it is a file, where its content begins and ends."""
    given = _boundary.fullmatch(content_type)
    if given is None:
        raise _broken("its Content-Type has no boundary, or more than that")
    mark = b"--" + (given[1] or given[2])
    if not body.startswith(mark + b"\r\n"):
        raise _broken("it does not begin with its boundary")
    parts: list[tuple[str, bool, int, int]] = []
    at = len(mark) + 2
    while True:
        end = body.find(b"\r\n" + mark, at - 2)
        start = body.find(b"\r\n\r\n", at - 2, end) + 4
        if end < 0 or start < 4:
            raise _broken("a part has no end, or no head")
        parts.append((*_read_head(body[at : start - 4]), start, end))
        at = end + len(mark) + 4
        if body[at - 2 : at] == b"--":
            break
        if body[at - 2 : at] != b"\r\n" or len(parts) >= _PARTS:
            raise _broken("a boundary has more behind it, or there are too many parts")
    if body[at:] not in (b"", b"\r\n") or body.count(mark) != len(parts) + 1:
        raise _broken("the boundary stands where it ends no part")
    return parts


def _read_head(head: bytes) -> tuple[str, bool]:
    """The name of a part, and whether it is a file."""
    found = [match for line in head.split(b"\r\n") if (match := _disposition.fullmatch(line)) is not None]
    if len(found) != 1 or head.lower().count(b"content-disposition") != 1 or b"\n" in head.replace(b"\r\n", b""):
        raise _broken("a part has no Content-Disposition, or more than one")
    parameters: dict[bytes, bytes] = {}
    rest = found[0][1]
    while rest:
        match = _parameter.match(rest)
        if match is None or match[1].lower() in parameters:
            raise _broken("a Content-Disposition cannot be read")
        parameters[match[1].lower()] = match[2].strip(b'"')
        rest = rest[match.end() :]
    name = parameters.get(b"name", b"")
    if not name or b"\\" in name or b"%" in name or b"name*" in parameters or not name.isascii():
        raise _broken("a part has no plain name")
    return name.decode(), b"filename" in parameters or b"filename*" in parameters


def _broken(why: str) -> GatewayError:
    return GatewayError(1222, f"The form cannot be read: {why}.")

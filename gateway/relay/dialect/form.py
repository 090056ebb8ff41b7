"""Forms with files (RFC 7578): which model one asks for.

A form is read strictly, as it arrives: what servers could read differently is refused, so that none of them finds
another model in it than the one that was checked.
"""

import re

import msgspec

from gateway.errors import GatewayError

_PARTS = 200
_LONGEST = 1000  # bytes of a field that is read
_HEAD = 8192  # bytes of a part's head
_PIECE = 65_536
_boundary = re.compile(
    rb"""multipart/form-data *; *boundary=(?:"([^"\\]{1,70})"|([0-9a-z'()+_,./:=?-]{1,70})) *""", re.I
)
_disposition = re.compile(rb"content-disposition: *form-data *;(.*)", re.I)
_parameter = re.compile(rb' *([a-z*]+) *= *("[^"]*"|[^ ";]+) *(?:;|$)', re.I)


class Field(msgspec.Struct, frozen=True):
    """A short text of a form, and where it begins in the body."""

    text: bytes
    start: int


def is_form(content_type: bytes | None) -> bool:
    return (content_type or b"").lower().startswith(b"multipart/form-data")


class FormReader:
    """Reads a form piece by piece: `feed` all of it, then `finish`. Keeps no more of it than it must.

    `model` and `stream` are there as soon as they were read. Raises GatewayError 1211 (a field that counts stands
    twice), 1213 (no model), 1214, 1222 (broken, or ambiguous).
    """

    __slots__ = ("_at", "_fields", "_mark", "_name", "_parts", "_rest", "_state")

    def __init__(self, content_type: bytes) -> None:
        given = _boundary.fullmatch(content_type)
        if given is None:
            raise _broken("its Content-Type has no boundary, or more than that")
        self._mark = b"--" + (given[1] or given[2])
        self._at = 0  # where `_rest` begins in the body
        self._rest = b""
        self._fields: dict[str, Field] = {}
        self._name = ""  # of the part that is being read, if it counts
        self._parts = 0
        self._state = self._begin

    @property
    def model(self) -> Field | None:
        return self._fields.get("model")

    @property
    def stream(self) -> bool:
        return "stream" in self._fields and self._fields["stream"].text.lower() in (b"true", b"1")

    def feed(self, piece: bytes) -> None:
        self._rest += piece
        while self._state():
            pass

    def finish(self) -> None:
        """The body is over."""
        if self._state != self._end:
            raise _broken("it has no end")
        if "model" not in self._fields:
            raise GatewayError(1213, "The form names no model.", param="model")

    # --- states: each takes what it can from `_rest` and says whether the next one may go on

    def _begin(self) -> bool:
        first = self._mark + b"\r\n"
        if len(self._rest) < len(first):
            return False
        if not self._rest.startswith(first):
            raise _broken("it does not begin with its boundary")
        self._take(len(first))
        self._state = self._head
        return True

    def _head(self) -> bool:
        end = self._rest.find(b"\r\n\r\n")
        if end > _HEAD or (end < 0 and len(self._rest) > _HEAD):
            raise _broken("the head of a part is too long")
        if end < 0:
            return False
        head = self._take(end + 4)[:-4]
        name, is_file = _read_head(head)
        self._parts += 1
        if self._parts > _PARTS or self._mark in head:
            raise _broken("there are too many parts, or a boundary inside a head")
        self._name = name if name in ("model", "stream") else ""
        if self._name in self._fields:
            raise GatewayError(1211, "A field stands twice in the form.", param=name)
        if self._name and is_file:
            raise GatewayError(1214, f"{name} must be a short text.", param=name)
        self._state = self._content
        return True

    def _content(self) -> bool:
        found = self._rest.find(self._mark)
        if found < 0:
            if self._name and len(self._rest) > _LONGEST + len(self._mark):
                raise GatewayError(1214, f"{self._name} must be a short text.", param=self._name)
            if not self._name:
                self._take(max(0, len(self._rest) - len(self._mark) - 1))
            return False
        if self._rest[max(0, found - 2) : found] != b"\r\n":
            raise _broken("the boundary stands where it ends no part")
        end = found + len(self._mark) + 2
        if len(self._rest) < end:
            return False
        if self._name:
            self._keep(found - 2)
        self._state = {b"\r\n": self._head, b"--": self._end}.get(self._rest[end - 2 : end], self._refuse)
        self._take(end)
        return True

    def _end(self) -> bool:
        if not b"\r\n".startswith(self._rest):
            raise _broken("more comes behind its end")
        return False

    def _refuse(self) -> bool:
        raise _broken("a boundary has more behind it")

    def _keep(self, size: int) -> None:
        if size > _LONGEST:
            raise GatewayError(1214, f"{self._name} must be a short text.", param=self._name)
        self._fields[self._name] = Field(self._rest[:size], self._at)

    def _take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        self._at += size
        return taken


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


def rename_model(content_type: bytes, body: bytes, name: str) -> bytes:
    """The same form, or beginning of one, asking for another model."""
    reader = FormReader(content_type)
    at = 0
    while reader.model is None and at < len(body):
        reader.feed(body[at : at + _PIECE])
        at += _PIECE
    assert reader.model is not None, "it was read before"
    start, end = reader.model.start, reader.model.start + len(reader.model.text)
    return b"".join((body[:start], name.encode(), body[end:]))

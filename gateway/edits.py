"""Changes that a configuration asks for: texts with placeholders, and edits of headers, queries and JSON.

Plugins get this through `gateway.plugin`. The four kinds of edit happen in one order everywhere: `remove`, `rename`,
`set`, `add` (only what is absent). Placeholders are a fixed list; nothing is evaluated.
"""

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from gateway.backend import BaseSettings
from gateway.exchange import Exchange
from gateway.http.hygiene import may_come_down, may_go_up
from gateway.wire import encode_object

Fields = dict[str, msgspec.Raw]
Path = tuple[str, ...]

_find_braces = re.compile(r"\{\{|\}\}|\{[^{}]*\}|[{}]").finditer
_is_header_name = re.compile(r"[A-Za-z0-9!#$%&'*+.^`|~-]{1,128}").fullmatch
_is_header_text = re.compile(r"[\t\x20-\x7e]*").fullmatch
_VISIBLE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
_objects = msgspec.json.Decoder(Fields)
_raw = msgspec.json.Encoder().encode

_VALUES: dict[str, Callable[[Exchange], str]] = {
    "consumer": lambda exchange: exchange.credential.consumer if exchange.credential is not None else "",
    "credential": lambda exchange: exchange.credential.id if exchange.credential is not None else "",
    "project": lambda exchange: exchange.credential.project if exchange.credential is not None else "",
    "role": lambda exchange: exchange.credential.role if exchange.credential is not None else "",
    "tier": lambda exchange: exchange.tier or (exchange.credential.tier if exchange.credential is not None else ""),
    "request_id": lambda exchange: exchange.request_id,
    "route": lambda exchange: exchange.route,
    "model": lambda exchange: exchange.model,
    "peer": lambda exchange: exchange.peer,
}


class Texts(BaseSettings, frozen=True):
    """Edits of headers or of a query, by name."""

    remove: tuple[str, ...] = ()
    rename: dict[str, str] = msgspec.field(default_factory=dict)
    set: dict[str, str] = msgspec.field(default_factory=dict)
    add: dict[str, str] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.remove or self.rename or self.set or self.add)


class Members(BaseSettings, frozen=True):
    """Edits of a JSON object, by path: `a`, or `a.b.c` for what is inside other objects."""

    remove: tuple[str, ...] = ()
    rename: dict[str, str] = msgspec.field(default_factory=dict)
    set: dict[str, Any] = msgspec.field(default_factory=dict)
    add: dict[str, Any] = msgspec.field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.remove or self.rename or self.set or self.add)


class Template:
    """A text in which `{consumer}` and its kind stand for values of a request; `{{` and `}}` are braces.

    Raises ValueError for a placeholder that is not known, and for a lone brace. `names` are the placeholders.
    """

    __slots__ = ("_parts", "names")

    def __init__(self, text: str) -> None:
        self._parts: list[str | Callable[[Exchange], str]] = []
        self.names: set[str] = set()
        end = 0
        for match in _find_braces(text):
            self._parts.append(text[end : match.start()])
            end = match.end()
            self._parts.append(self._read(match[0]))
        self._parts.append(text[end:])
        if not self.names:
            self._parts = ["".join(map(str, self._parts))]

    def _read(self, token: str) -> str | Callable[[Exchange], str]:
        if token in ("{{", "}}"):
            return token[0]
        name = token[1:-1]
        if name not in _VALUES:
            told = f"unknown placeholder {token}" if len(token) > 1 else f"a lone {token}"
            raise ValueError(
                f"{told}: there are {', '.join(f'{{{known}}}' for known in _VALUES)}; write {{{{ for a brace"
            )
        self.names.add(name)
        return _VALUES[name]

    def fill(self, exchange: Exchange, encode: Callable[[str], str] = str) -> str:
        """The text for one request; `encode` is applied to what comes from it."""
        return "".join([part if isinstance(part, str) else encode(part(exchange)) for part in self._parts])


def header_safe(value: str) -> str:
    """A value that any header can hold: what is not visible ASCII, and `%`, is percent-encoded, so no two are alike."""
    if value.isascii() and value.isprintable() and "%" not in value:
        return value
    return quote(value, safe=_VISIBLE, errors="surrogatepass")


def compile_headers(texts: Mapping[str, str]) -> list[tuple[bytes, Template]]:
    """Values by lower-case name. Raises ValueError for a text that no header can hold."""
    for name, text in texts.items():
        if not _is_header_text(text):
            raise ValueError(f"the header {name} can hold only visible ASCII characters")
    return [(name.lower().encode(), Template(text)) for name, text in texts.items()]


def check_header_names(edits: Texts, *, is_request: bool) -> None:
    """Raises ValueError for a header that is not the configuration's to change: framing, hops, identity, secrets."""
    may_pass = may_go_up if is_request else may_come_down
    for name in (*edits.remove, *edits.rename, *edits.rename.values(), *edits.set, *edits.add):
        if not _is_header_name(name):
            raise ValueError(f"{name!r} is not the name of a header")
        if not may_pass(name.lower().encode()):
            raise ValueError(f"the header {name} belongs to the gateway: it cannot be changed here")


class JsonEditor:
    """Compiled `Members`. `reserved` are top-level names that may not be touched: ValueError."""

    def __init__(self, edits: Members, reserved: Collection[str] = ()) -> None:
        self._removed = [_read_path(path, reserved) for path in edits.remove]
        self._renamed = [(_read_path(a, reserved), _read_path(b, reserved)) for a, b in edits.rename.items()]
        for old, new in self._renamed:
            if old[: len(new)] == new[: len(old)]:
                raise ValueError(f"cannot rename {'.'.join(old)} to {'.'.join(new)}: one lies inside the other")
        self._set = [(_read_path(path, reserved), *_compile(value)) for path, value in edits.set.items()]
        self._added = [(_read_path(path, reserved), *_compile(value)) for path, value in edits.add.items()]
        self.names = {name for _, value, _ in self._set + self._added for name in _names(value)}

    def edit(self, fields: Fields, exchange: Exchange) -> bool:
        """Whether anything was changed. What lies inside something that is no object is left alone."""
        changed = False
        for path in self._removed:
            changed |= _remove(fields, path)
        for old, new in self._renamed:
            value = _find(fields, old)
            if value is not None and _put(fields, new, value, True):
                changed = _remove(fields, old)
        for edits, replace in ((self._set, True), (self._added, False)):
            for path, value, fixed in edits:
                changed |= _put(fields, path, fixed or msgspec.Raw(_raw(_fill(value, exchange))), replace)
        return changed


def _read_path(text: str, reserved: Collection[str]) -> Path:
    path = tuple(text.split("."))
    if not all(path):
        raise ValueError(f"`{text}` is not a path such as a or a.b")
    if path[0] in reserved:
        raise ValueError(f"`{path[0]}` is the registry's: it cannot be changed here")
    return path


def _compile(value: Any) -> tuple[Any, msgspec.Raw | None]:
    """A JSON value with its texts as templates; and as it will always be, where nothing is to be filled in."""
    if isinstance(value, dict):
        value = {name: _compile(part)[0] for name, part in value.items()}
    elif isinstance(value, list):
        value = [_compile(part)[0] for part in value]
    elif isinstance(value, str):
        value = Template(value)
    return value, None if _names(value) else msgspec.Raw(_raw(_fill(value, None)))


def _names(value: Any) -> set[str]:
    if isinstance(value, dict | list):
        parts = value.values() if isinstance(value, dict) else value
        return {name for part in parts for name in _names(part)}
    return value.names if isinstance(value, Template) else set()


def _fill(value: Any, exchange: Any) -> Any:
    if isinstance(value, dict):
        return {name: _fill(part, exchange) for name, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, exchange) for part in value]
    return value.fill(exchange) if isinstance(value, Template) else value


def _open(raw: msgspec.Raw) -> Fields | None:
    try:
        return _objects.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _find(fields: Fields, path: Path) -> msgspec.Raw | None:
    raw = fields.get(path[0])
    if raw is None or len(path) == 1:
        return raw
    inner = _open(raw)
    return None if inner is None else _find(inner, path[1:])


def _put(fields: Fields, path: Path, value: msgspec.Raw, replace: bool) -> bool:
    name, present = path[0], path[0] in fields
    if len(path) == 1:
        if present and not replace:
            return False
        fields[name] = value
        return True
    inner = _open(fields[name]) if present else {}
    if inner is None or not _put(inner, path[1:], value, replace):
        return False
    fields[name] = msgspec.Raw(encode_object(inner))
    return True


def _remove(fields: Fields, path: Path) -> bool:
    name = path[0]
    if len(path) == 1:
        return fields.pop(name, None) is not None
    inner = _open(fields[name]) if name in fields else None
    if inner is None or not _remove(inner, path[1:]):
        return False
    fields[name] = msgspec.Raw(encode_object(inner))
    return True

"""Errors of model servers made even: whatever shape one has, the client gets the one of the route's dialect.

An error that already has that shape goes on unchanged, byte for byte. The status always stays. What the server said is
cleaned: one line, bounded, no traces, no paths of its files.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from html import unescape
from http import HTTPStatus
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.relay.dialect.envelope import encode_error
from gateway.relay.dialect.kind import Dialect

_LONGEST = 500  # characters of a message
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_KNOWN = frozenset(("invalid_request_error", "server_error", *_TYPES.values()))
_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|maximum (?:model|sequence|input) length|(?:prompt|input) is too long", re.I
)
_is_code = re.compile(r"[a-z][a-z0-9_]{0,63}").fullmatch
_title = re.compile(r"<(?:title|h1)[^>]{0,200}>([^<]{1,300})", re.I)
_frame = re.compile(r' File "[^"]{1,300}", line \d').search
_file = re.compile(
    r"""(?<![\w:/.~-])(?:~|\.{1,2})?/(?!v\d+\b|api/)[^\s"'`,;:()<>\[\]{}/]+(?:/[^\s"'`,;:()<>\[\]{}/]+)+/?"""
    r"""|\b[A-Za-z]:\\[^\s"'`,;<>]+"""
)


class Fault(msgspec.Struct, frozen=True):
    """What an upstream said of a failure, as far as it could be understood. `message` is clean, and never empty."""

    message: str
    type: str
    code: str
    param: str | None = None
    details: dict[str, Any] = {}

    @property
    def is_context(self) -> bool:
        """Whether the prompt is too long for the model."""
        return self.code == "context_length_exceeded"


class Rejection(GatewayError):
    """An upstream's error in our envelope, with its own type and code."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(1715, fault.message, param=fault.param, details=fault.details)
        self._fault = fault

    def envelope(self, request_id: str, now: datetime | None = None) -> dict[str, dict[str, Any]]:
        envelope = super().envelope(request_id, now)
        envelope["error"] |= {"type": self._fault.type, "code": self._fault.code}
        return envelope


def make_even(dialect: Dialect, status: int, body: bytes, request_id: str) -> bytes | None:
    """The whole answer that tells an upstream's error in `dialect`; None where `body` does so already."""
    said = _parse(body)
    if _is_even(dialect, said):
        return None
    return encode_error(dialect, status, Rejection(_understand(status, said, body)).envelope(request_id))


def read_fault(status: int, body: bytes) -> Fault:
    """What an upstream's error answer says, whatever its shape."""
    return _understand(status, _parse(body), body)


def _parse(body: bytes) -> Any:
    """The JSON of an error, None if it is none. Some servers send it as an event, some in a list."""
    text = body.strip()
    if text.startswith(b"data:"):
        text = text[5:].partition(b"\n")[0]
    try:
        said = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return said[0] if isinstance(said, list) and len(said) == 1 else said


def _is_even(dialect: Dialect, said: Any) -> bool:
    error = said.get("error") if isinstance(said, dict) else None
    if not isinstance(error, dict) or not _is_text(error.get("message")) or not _is_text(error.get("type")):
        return False
    if dialect.shape == "anthropic":
        return said.get("type") == "error" and not _file.search(error["message"])
    may_be = (error.get("code"), error.get("param"))
    return all(value is None or isinstance(value, str) for value in may_be) and not _file.search(error["message"])


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _understand(status: int, said: Any, body: bytes) -> Fault:
    error, message, param = _find_message(said)
    if said is None:
        message = _read_page(body)
    message = clean(message) or f"The model server answered {status} {_phrase(status)}.".replace(" .", ".")
    told, code = str(error.get("type") or ""), error.get("code")
    if not isinstance(code, str) or not _is_code(code):
        code = ""
    if 400 <= status < 500 and (_CONTEXT.search(message) or _CONTEXT.search(f"{told} {code}")):
        code = "context_length_exceeded"
    if not isinstance(param, str):
        param = error.get("param") if isinstance(error.get("param"), str) else None
    numbers = {name: value for name, value in error.items() if isinstance(value, int) and _is_code(name)}
    numbers.pop("code", None)
    numbers.pop("status", None)
    kind = told if told in _KNOWN else _TYPES.get(status, "invalid_request_error" if status < 500 else "server_error")
    return Fault(message, kind, code or "upstream_error", param, dict(list(numbers.items())[:8]))


def _find_message(said: Any) -> tuple[Mapping[str, Any], str, str | None]:
    """The object that tells of the error, its message, and the field that FastAPI's validation names."""
    if isinstance(said, str):
        return {}, said, None
    if not isinstance(said, dict):
        return {}, "", None
    for name in ("error", "detail", "errors", "message", "title"):
        inner = said.get(name)
        if isinstance(inner, list) and inner:
            return (said, *_read_validation(inner))
        if isinstance(inner, dict):
            _, message, param = _find_message(inner)
            return inner, message, param
        if _is_text(inner):
            return said, str(inner), None
    return said, str(said["msg"]) if _is_text(said.get("msg")) else "", None


def _read_validation(problems: list[Any]) -> tuple[str, str | None]:
    """FastAPI's list (`loc`, `msg`, `type`), without what the client sent; or a list of plain sentences."""
    told: list[str] = []
    fields: list[str] = []
    for problem in problems[:5]:
        if isinstance(problem, dict):
            place = problem.get("loc")
            steps = [str(step) for step in place if step != "body"] if isinstance(place, list) else []
            message = problem.get("msg") or problem.get("message") or ""
            fields += [".".join(steps)] if steps else []
            told.append(": ".join(part for part in (".".join(steps), str(message)) if part))
        elif isinstance(problem, str):
            told.append(problem)
    return "; ".join(told), fields[0][:64] if fields else None


def _read_page(body: bytes) -> str:
    """The words of an answer that is no JSON: plain text as it stands, of a page its title."""
    text = body[:8192].decode("utf-8", "replace").strip()
    if not text.startswith("<"):
        return "" if "\ufffd" in text or "\0" in text else text
    found = _title.search(text)
    return unescape(found[1]) if found else ""


def clean(text: str) -> str:
    """One bounded line without control characters, traces and paths of files."""
    text = text[:20_000]
    if "Traceback (most recent call last)" in text:
        text = text.strip().rpartition("\n")[2]
    text = " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text).split())
    text = text[: found.start()] if (found := _frame(text)) is not None and found.start() else text
    text = _file.sub("[path]", text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""

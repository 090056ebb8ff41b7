"""Traces as files: CSV, JSON lines, Parquet. Made piece by piece: nothing grows with the number of rows."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from gateway.control.query.parquet import Parquet
from gateway.control.query.view import Failure, Trace

COLUMNS = tuple(name for name in Trace.__struct_fields__ if name != "feedback")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")

_encode = msgspec.json.Encoder().encode


class Sheet(Protocol):
    """What is written into the answer, in this order: `head`, the `rows` of each page, `end`."""

    def head(self) -> bytes: ...
    def rows(self, traces: Sequence[Trace]) -> bytes: ...
    def end(self) -> bytes: ...


class Csv:
    """RFC 4180, with a line of names. Texts that a spreadsheet would take for a formula begin with an apostrophe."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> bytes:
        return self._write([self._columns])

    def rows(self, traces: Sequence[Trace]) -> bytes:
        return self._write([_guard(_flatten(name, getattr(trace, name))) for name in self._columns] for trace in traces)

    def end(self) -> bytes:
        return b""

    def _write(self, lines: Any) -> bytes:
        text = io.StringIO()
        csv.writer(text).writerows(lines)
        return text.getvalue().encode()


class JsonLines:
    """One trace a line, as lists show it."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns

    def head(self) -> bytes:
        return b""

    def rows(self, traces: Sequence[Trace]) -> bytes:
        lines = [_encode({name: getattr(trace, name) for name in self._columns}) + b"\n" for trace in traces]
        return b"".join(lines)

    def end(self) -> bytes:
        return b""


FORMATS: Mapping[str, tuple[Callable[[Sequence[str]], Sheet], str]] = {
    "csv": (Csv, "text/csv"),
    "jsonl": (JsonLines, "application/x-ndjson"),
    "parquet": (Parquet, "application/vnd.apache.parquet"),
}


def _flatten(name: str, value: Any) -> Any:
    """One cell. An error is its number."""
    if isinstance(value, Failure):
        return value.number
    if isinstance(value, list):
        return ",".join(value)
    return _encode(value).decode() if isinstance(value, dict) else value


def _guard(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell

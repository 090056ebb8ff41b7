"""Rows as aligned columns of plain text, which pipe well."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any


def draw(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """A heading and a line per row; every line ends in a newline."""
    lines = [
        [column.replace("_", " ") for column in columns],
        *([_cell(row[name]) for name in columns] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "".join("  ".join(map(str.ljust, line, widths)).rstrip() + "\n" for line in lines)


def moment(seconds: float) -> str:
    """Unix seconds as a person writes them, nothing for 0."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC") if seconds else ""


def _cell(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in ("", None) else str(value)

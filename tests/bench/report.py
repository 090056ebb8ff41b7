"""What was measured, as a table on the terminal and in README.md, and as results.json."""

import os
import platform
from pathlib import Path

import msgspec

from tests.bench.figure import Figure

_FOLDER = Path(__file__).parent
_BEGIN, _END = "<!-- results: begin (written by python -m tests.bench) -->", "<!-- results: end -->"


class Results(msgspec.Struct):
    """The last figures of every row that was ever run here."""

    machine: str
    when: str
    figures: list[Figure]


def merge(figures: list[Figure], when: str) -> Results:
    """The new figures beside the old ones of rows that were not run."""
    path = _FOLDER / "results.json"
    old = msgspec.json.decode(path.read_bytes(), type=Results).figures if path.exists() else []
    rows = {figure.row for figure in figures}
    kept = [figure for figure in old if (figure.row, figure.what) not in {(new.row, new.what) for new in figures}]
    kept = [figure for figure in kept if figure.row not in rows or figure.row in (8, 10)]  # measured in two places
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    return Results(machine, when, sorted(kept + figures, key=lambda figure: figure.row))


def table(results: Results) -> str:
    """Markdown. A ratio is ours / peer."""
    lines = ["| row | what | ours | peer | ratio | target |", "|---|---|---|---|---|---|"]
    for figure in results.figures:
        peer = f"{figure.peer:,.4g} {figure.unit} ({figure.peer_name})" if figure.peer is not None else ""
        ratio = f"{figure.ratio:.2f}x" if figure.ratio is not None else ""
        ours = f"{figure.ours:,.4g} {figure.unit}"
        lines.append(f"| {figure.row} | {figure.what} | {ours} | {peer} | {ratio} | {figure.target} |")
    return "\n".join(lines)


def write(results: Results) -> None:
    """results.json, and the table between the marks in README.md."""
    (_FOLDER / "results.json").write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")
    readme = _FOLDER / "README.md"
    before, _, rest = readme.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    shown = f"{_BEGIN}\n\nLast run {results.when}, {results.machine}.\n\n{table(results)}\n\n{_END}"
    readme.write_text(before + shown + after)

"""`tollkeeper trace ID`: one request as a waterfall; who asked, what answered, what it took, what went wrong."""

import json
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli.directory import change
from gateway.cli.option import Place, place_options

_WIDTH = 36  # characters of the whole duration
_PARTS = (  # in the order in which they mostly happen; the gateway's own time is spread over the request
    ("gateway", "overhead_ms", "magenta"), ("queue", "queue_ms", "yellow"), ("load", "load_ms", "red"),
    ("connect", "connect_ms", "blue"), ("model, first byte", "", "cyan"),
    ("model, the rest", "decode_ms", "green"),
)  # fmt: skip
_FACTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("who", ("consumer", "credential", "role", "tier", "project_id")),
    ("model", ("model_asked", "model", "provider", "backend", "endpoint", "engine_load")),
    ("ids", ("id", "request_id", "trace_id", "span_id", "parent_span_id", "session_id", "user_id")),
    (
        "also",
        ("route", "cache", "rule", "cancel", "finish_reason", "retries", "upstream_status", "tags", "environment"),
    ),
)


@click.command()
@place_options
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="All that is known, for scripts.")
@click.option("--content", is_flag=True, help="Also what was asked and answered, where the route keeps it.")
def trace(place: Place, id: str, as_json: bool, content: bool) -> None:
    """Explain one request: by its X-Request-ID, its internal id or its W3C trace id.

    Asks the running gateway, or the store where none runs. A request that has just ended may take a second to appear.
    """
    found = change(place, "trace", {"id": id})
    if found is None:
        click.echo(f"tollkeeper: no request is known as {id}; the store keeps them for `state.retention`", err=True)
        raise SystemExit(1)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    console = Console(highlight=False)
    for part in draw(found, content):
        console.print(part, soft_wrap=True)


def split(found: dict[str, Any]) -> list[tuple[str, str, float, float]]:
    """The parts of a finished request, in milliseconds: name, colour, start, length. Together they are its duration."""
    total, rest = found["duration_ms"] or 0.0, found["duration_ms"] or 0.0
    lengths = []
    for name, field, colour in _PARTS:
        length = min(found[field] or 0.0, rest) if field else 0.0
        rest -= length
        lengths.append((name, colour, length))
    model = next(at for at, (_, field, _) in enumerate(_PARTS) if not field)
    at, parts = 0.0, []
    for place, (name, colour, length) in enumerate(lengths):
        length = rest if place == model else length
        if length > 0:
            parts.append((name, colour, at, length))
        at += length
    assert abs(at - total) < 1e-6 * max(1.0, total)
    return parts


def draw(found: dict[str, Any], content: bool = False) -> Iterator[Text | Table]:
    """The lines of the answer."""
    yield _headline(found)
    if found["error"] is not None:
        error = found["error"]
        yield Text(f"  {error['number']} {error['code']}: {error['title']}", "red")
        yield Text(f"  what helps: {error['cure']}")
    if found["duration_ms"] is not None:
        yield Text()
        yield _waterfall(found)
    yield Text()
    yield _facts(found)
    for name in ("input_text", "output_text") if content else ():
        yield Text(f"\n{name.partition('_')[0]}\n", "bold").append(found[name] or "nothing is kept", "not bold")


def _headline(found: dict[str, Any]) -> Text:
    colour = {"success": "green", "error": "red"}.get(found["status"], "yellow")
    took = "still running" if found["duration_ms"] is None else _time(found["duration_ms"])
    attributes = found["attributes"]
    return Text.assemble(
        (found["status"], f"bold {colour}"), f"  {found['status_code'] or '-'}  {attributes['method']} ",
        f"{attributes['path']}  {took}  {found['outcome'].replace('_', ' ')}  from {attributes['peer'] or 'a socket'}",
        f" at {found['ts']}",
    )  # fmt: skip


def _waterfall(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    total = found["duration_ms"] or 1e-9
    for name, colour, at, length in split(found):
        begin = min(round(at / total * _WIDTH), _WIDTH - 1)
        size = max(1, min(round(length / total * _WIDTH), _WIDTH - begin))
        bar = Text(" " * begin).append("█" * size, colour).append(" " * (_WIDTH - begin - size))
        table.add_row(f"  {name}", bar, Text(_time(length), justify="right"), f"{length / total:4.0%}")
    return table


def _facts(found: dict[str, Any]) -> Table:
    table = Table.grid(padding=(0, 2))
    for heading, names in _FACTS:
        told = [
            f"{name.removesuffix('_id')} {_value(found[name])}" for name in names if found[name] not in (None, [], 0)
        ]
        if told:
            table.add_row(f"  {heading}", Text(", ".join(told), overflow="fold"))
    tokens = f"{found['prompt_tokens']} in, {found['completion_tokens']} out"
    if found["cached_tokens"]:
        tokens += f", {found['cached_tokens']} cached"
    cost = "no price is known" if found["total_cost"] is None else f"{found['total_cost']:.6f} USD"
    table.add_row("  tokens", f"{tokens} ({found['tokens_source']})")
    table.add_row("  cost", f"{cost}, {found['units']:g} units")
    table.add_row("  bytes", f"{found['bytes_in']} in, {found['bytes_out']} out")
    return table


def _value(value: Any) -> str:
    return " ".join(value) if isinstance(value, list) else str(value)


def _time(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.2f} ms"

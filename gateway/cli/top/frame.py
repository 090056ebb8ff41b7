"""One frame of `tollkeeper top`: figures in, something that rich prints. It reads without colour, in 80 columns."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.cli.top.figures import Figures, Row, Spread

_NEAR = 0.8  # of a month, from which a tier stands out
_WAYS = (("queue", "queue_ms"), ("load", "load_ms"), ("connect", "connect_ms"), ("gateway", "overhead_ms"))


def draw(figures: Figures, height: int = 0) -> RenderableType:
    """`height` is lines of the terminal, 0 for no bound: then every row is shown."""
    engines = figures.status["engines"]
    room = max(2, (height - 12) // 4) if height else 1000
    parts: list[RenderableType] = [*_head(figures), Text()]
    parts.append(_models(figures.models, room))
    if engines:
        parts += [Text(), _engines(engines, room)]
    if figures.tiers:
        parts += [Text(), _tiers(figures.tiers, room)]
    if figures.rules:
        told = ", ".join(f"{row.name} {row.requests:.1f}/s" for row in figures.rules[:3])
        parts.append(Text(f"refused by {told}", overflow="ellipsis", no_wrap=True))
    if figures.slow:
        parts += [Text(), _slow(figures.slow, min(room, len(figures.slow)))]
    return Group(*parts)


def _head(figures: Figures) -> Iterable[Text]:
    status = figures.status
    newest: Mapping[str, Any] = status["generations"][-1] if status["generations"] else {"number": 0, "workers": ()}
    yield Text.assemble(
        (f"tollkeeper {status['version']}", "bold"), f"  generation {newest['number']}, ",
        f"{len(newest['workers'])} workers  ", *_troubles(status),
    )  # fmt: skip
    share = f" ({figures.errors / figures.requests:.1%})" if figures.errors and figures.requests else ""
    yield Text.assemble(
        (f"{figures.requests:.1f}", "bold"), " requests/s  ", (f"{figures.errors:.1f}", _alarm(figures.errors)),
        f" errors/s{share}  {figures.refused:.1f} refused/s  {figures.inflight:.0f} in flight",
    )  # fmt: skip
    yield Text(
        f"{figures.tokens_in:.0f} + {figures.tokens_out:.0f} tokens/s  latency {_spread(figures.seconds)}  "
        f"of it ours {_spread(figures.overhead)}"
    )


def _troubles(status: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    if not status["control"]["store_up"]:
        yield "store down ", "bold red"
    elif status["control"]["lag"] > 10:
        yield f"traces {status['control']['lag']:.0f} s behind ", "yellow"
    if status["reload_error"]:
        yield "reload refused ", "bold red"
    for backend, endpoints in status["endpoints_down"].items():
        yield f"{backend}: {len(endpoints)} down ", "red"


def _models(models: Iterable[Row], room: int) -> Table:
    table = _table("model", "req/s", "err/s", "tokens/s", "first token", "latency p50/p95")
    for row in list(models)[:room]:
        cells = (f"{row.requests:.1f}", Text(f"{row.errors:.1f}", _alarm(row.errors)), f"{row.tokens:.0f}")
        table.add_row(row.name, *cells, _spread(row.first_token), _spread(row.seconds))
    return table


def _engines(engines: Mapping[str, Any], room: int) -> Table:
    table = _table("engine", "state", "in use", "waiting", "memory", "restarts")
    colours = {"ready": "green", "failed": "bold red", "suspect": "yellow", "backoff": "yellow"}
    for name, engine in list(engines.items())[:room]:
        waiting = ", ".join(f"{kind} {count}" for kind, count in engine["queues"].items() if count) or "-"
        memory = f"{engine['memory'] / 1e9:.1f} GB" if engine["resident"] and engine["memory"] else "-"
        slots = f"{engine['in_use']}/{engine['slots'] or '∞'}"
        state = Text(engine["state"], colours.get(engine["state"], ""))
        table.add_row(name, state, slots, waiting, memory, str(sum(engine["restarts"].values())))
    return table


def _tiers(tiers: Iterable[Row], room: int) -> Table:
    table = _table("tier", "req/s", "4xx/s", "tokens/s", "fullest month")
    for row in list(tiers)[:room]:
        near = row.ratio is not None and row.ratio >= _NEAR
        month = Text("-" if row.ratio is None else f"{row.ratio:.0%}", "bold red" if near else "")
        table.add_row(row.name, f"{row.requests:.1f}", f"{row.errors:.1f}", f"{row.tokens:.0f}", month)
    return table


def _slow(slow: Iterable[Mapping[str, Any]], room: int) -> Table:
    table = _table("slowest of the last minute", "model", "who", "took", "mostly")
    for one in list(slow)[:room]:
        took = one["duration_ms"] or 0.0
        table.add_row(one["id"], one["model"] or "-", one["consumer"] or "-", _time(took / 1000), _mostly(one, took))
    return table


def _mostly(one: Mapping[str, Any], took: float) -> str:
    parts = {name: one[field] or 0.0 for name, field in _WAYS}
    parts["model"] = max(0.0, took - sum(parts.values()))
    return max(parts, key=lambda name: parts[name])


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold", expand=False)
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table


def _alarm(count: float) -> str:
    return "bold red" if count else ""


def _spread(spread: Spread) -> str:
    if spread.p50 is None or spread.p95 is None:
        return "-"
    return f"{_time(spread.p50)} / {_time(spread.p95)}"


def _time(seconds: float) -> str:
    if seconds >= 10:
        return f"{seconds:.0f} s"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.3g} ms"

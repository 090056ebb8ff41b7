"""`tollkeeper top`: what the gateway does now, drawn anew every second or two."""

import time
from contextlib import suppress
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from gateway.cli.failure import one_line
from gateway.cli.option import Place, place_options, read_duration
from gateway.cli.session import NotRunning, Refused, ask
from gateway.cli.top.figures import Figures, compare
from gateway.cli.top.frame import draw

_SLOW = 60  # seconds in which the slowest requests are looked for
_FEW = 5


@click.command()
@place_options
@click.option("--interval", "-n", default="2s", callback=read_duration, show_default=True, help="Between two frames.")
@click.option("--once", is_flag=True, help="One frame of the next interval, then the end.")
def top(place: Place, interval: float, once: bool) -> None:
    """Watch requests, tokens, tiers near limits, engines and slow requests of the running gateway. Ctrl-C ends."""
    interval = max(0.2, interval)
    with one_line(NotRunning, Refused), suppress(KeyboardInterrupt):
        _watch(place.state, interval, once)


def _watch(state: str, interval: float, once: bool) -> None:
    before = ask(state, "measures")
    if once:
        time.sleep(interval)
        Console().print(draw(_look(state, before)[0]))
        return
    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        while True:
            time.sleep(interval)
            figures, before = _look(state, before)
            live.update(draw(figures, live.console.height), refresh=True)


def _look(state: str, before: Any) -> tuple[Figures, Any]:
    """The figures since the measures `before`, and the measures of now."""
    now = ask(state, "measures")
    status = ask(state, "status")
    try:
        slow = ask(state, "slowest", {"since": time.time_ns() // 1000 - _SLOW * 1_000_000, "limit": _FEW})
    except Refused:  # control is being started again; everything else is worth seeing meanwhile
        slow = []
    return compare(before, now, status, slow), now

"""`tollkeeper loadtest`: does a gateway keep what it announces, and how fast is it? Small by default, and bounded."""

import asyncio
import json
import sys
from collections.abc import Callable, Sequence

import aiohttp
import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from gateway.cli.loadtest.caller import Caller, Purse
from gateway.cli.loadtest.concurrency import Concurrency
from gateway.cli.loadtest.figure import Check, Row
from gateway.cli.loadtest.limits import Limits
from gateway.cli.loadtest.target import (
    CONNECTIONS,
    MOST_CONNECTIONS,
    MOST_REQUESTS,
    MOST_SECONDS,
    REQUESTS,
    SECONDS,
    Target,
    is_loopback,
)
from gateway.cli.loadtest.throughput import Throughput
from gateway.cli.loadtest.validation import Validation
from gateway.cli.option import key_option

_CHECKS: dict[str, Callable[[Caller, Purse], Check]] = {
    "validation": Validation, "concurrency": Concurrency, "limits": Limits, "throughput": Throughput,
}  # fmt: skip
_STYLES = {"ok": "green", "FAILED": "bold red", "skipped": "yellow", "": ""}
_INTERRUPTED = 130  # as shells tell it


@click.command()
@click.argument("url")
@key_option
@click.option("--model", default="", help="What to ask for [the first that /v1/models lists].")
@click.option("--path", default="/v1/chat/completions", show_default=True, help="Of chat completions.")
@click.option(
    "--seconds", type=click.FloatRange(0.1, MOST_SECONDS), default=10.0, show_default=True, help="For each check."
)
@click.option("--connections", type=click.IntRange(1, MOST_CONNECTIONS), default=16, show_default=True)
@click.option("--requests", type=click.IntRange(1, MOST_REQUESTS), default=REQUESTS, show_default=True, help="In all.")
@click.option("--only", type=click.Choice([*_CHECKS]), multiple=True, help="Only this check; may be repeated.")
@click.option(
    "--heavy", is_flag=True, help=f"Allow more than {SECONDS} s, {CONNECTIONS} connections, {REQUESTS} requests."
)
@click.option("--yes", is_flag=True, help="The target is not this machine, and you may load it.")
def loadtest(
    url: str, key: str, model: str, path: str, seconds: float, connections: int, requests: int, only: Sequence[str],
    heavy: bool, yes: bool,
) -> None:  # fmt: skip
    """Test the gateway at URL under load: refusals of bad requests, limits, concurrency, throughput.

    It spends what the key may spend. The exit code is 1 if the gateway did not keep what it promises.
    """
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("write it as http://HOST:PORT", param_hint="URL")
    if not yes and not is_loopback(url):
        raise click.UsageError(f"{url} is not this machine: say --yes if you may put load on it")
    if not heavy and (seconds > SECONDS or connections > CONNECTIONS or requests > REQUESTS):
        raise click.UsageError(f"more than {SECONDS} s, {CONNECTIONS} connections or {REQUESTS} requests: say --heavy")
    target = Target(url.rstrip("/").removesuffix("/v1"), key, model, seconds, connections, path)
    checks: list[Check] = []
    interrupted = False
    try:
        asyncio.run(_run(target, Purse(requests), only or [*_CHECKS], checks))
    except KeyboardInterrupt:
        interrupted = True
    rows = [row for check in checks for row in check.rows()]
    _print(target, rows)
    failed = any(row.result == "FAILED" for row in rows)
    raise SystemExit(1 if failed else _INTERRUPTED if interrupted else 0)


async def _run(target: Target, purse: Purse, names: Sequence[str], checks: list[Check]) -> None:
    """Run the checks; each is added to `checks` when it begins."""
    connector = aiohttp.TCPConnector(limit=target.connections)
    async with aiohttp.ClientSession(connector=connector) as session:
        if not target.model:
            target = await _choose_model(session, target)
        caller = Caller(session, target)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            for name in names:
                check = _CHECKS[name](caller, purse)
                checks.append(check)
                task = progress.add_task(f"{name}, {purse.left} requests left", total=None)
                await check.run()
                progress.remove_task(task)


async def _choose_model(session: aiohttp.ClientSession, target: Target) -> Target:
    """The target with the first model of its list. Leaves with exit code 1 where there is none."""
    shot = await Caller(session, target).send("GET", "/v1/models")
    try:
        name = json.loads(shot.body)["data"][0]["id"]
    except (ValueError, TypeError, LookupError):
        told = shot.fault or f"status {shot.status}"
        click.echo(f"tollkeeper: {target.url}/v1/models lists no model ({told}); name one with --model", err=True)
        raise SystemExit(1) from None
    return Target(target.url, target.key, str(name), target.seconds, target.connections, target.path)


def _print(target: Target, rows: Sequence[Row]) -> None:
    table = Table("check", "what", "result", "detail", title=f"{target.url}, {target.connections} connections")
    for row in rows:
        table.add_row(row.check, row.what, Text(row.result, _STYLES[row.result]), Text(row.detail))
    Console(width=None if sys.stdout.isatty() else 140).print(table)

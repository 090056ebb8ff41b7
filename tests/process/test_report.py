"""The month's report is what customers are billed from: it says what the ledger counted, to the unit."""

import asyncio
import contextlib
import csv
import os
import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from click.testing import CliRunner

from gateway.cli import tollkeeper
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.limit import Ask, Grant, Need, Quota
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, Load, chat
from tests.process.test_exactness import is_settled

FAR = {"zone": "Pacific/Auckland", "anchor": 28}
TIERS: dict[str, Document] = {
    "calendar": {"monthly": 1_000_000},
    "anchored": {"monthly": 1_000_000, **FAR},
    "tight": {"monthly": 3},
    "priced": {"monthly": 1_000_000, "monthly_tokens": 10_000_000, "budget": "500 USD/month"},
    "free": {"rate": "unlimited"},
}
KINDS: list[Document] = [
    chat(),
    chat(stream=True, chunks=10, chunk_delay=0.005),
    chat(fail=400),
    chat(fail=503),
    chat(stream=True, chunks=10, fail="truncate", after=4),
    {"model": "nobody", "messages": []},
]


async def test_the_report_is_what_the_ledger_counted(tmp_path: Path) -> None:
    document = config(
        tiers=TIERS, models={"echo": {"backend": "echo", "cost": 0.25, "price": {"input": 3, "output": 15}}}
    )
    with running_gateway(document, workers=2, folder=tmp_path) as gateway:
        await make_traffic(gateway)
        await asyncio.to_thread(eventually, lambda: is_settled(gateway), 60.0, "all journals are settled")
        assert gateway.stop() == 0
        lines = list(read_report(gateway))
        rows = gateway.rows()
    assert sum(int(line["requests"]) for line in lines) == len(rows)
    assert {"complete", "left", "refused", "worker_lost"} <= {row["outcome"] for row in rows}
    ledger = EmbeddedLedger.open(gateway.state, Clock())
    for tier, limits in TIERS.items():
        own = [line for line in lines if line["consumer"] == f"demo-{tier}"]
        assert add(own, "units") * 1000 == sum(row["units"] for row in rows if row["tier"] == tier)
        if "monthly" in limits:
            assert count_used(ledger, tier, "month") == add(own, "units") * 1000 > 0, tier
    priced = [line for line in lines if line["consumer"] == "demo-priced"]
    tokens = add(priced, "prompt_tokens") + add(priced, "completion_tokens")
    assert count_used(ledger, "priced", "tokens-month") == tokens * 1000
    assert count_used(ledger, "priced", "money") == add(priced, "total_cost") * 10**9 > 0
    ledger.close()


async def make_traffic(gateway: Gateway) -> None:
    """Streams, failures, refusals, clients that leave, and both workers killed, on every tier at once."""
    loads = [Load(gateway.address, gateway.key(tier), lambda n: KINDS[n % len(KINDS)], 0.005) for tier in TIERS]
    for load in loads:
        load.start(2)
    await asyncio.gather(*[read_some(gateway, tier, stays=False) for tier in TIERS])
    held = [asyncio.create_task(read_some(gateway, "priced", stays=True)) for _ in range(3)]
    await wait_for(loads, 30)
    gateway.note_processes()
    for pid in gateway.workers():
        os.kill(pid, signal.SIGKILL)
    await asyncio.gather(*held)
    await wait_for(loads, 60)
    for load in loads:
        await load.stop(60.0)


async def wait_for(loads: list[Load], answers: int) -> None:
    await asyncio.to_thread(eventually, lambda: all(len(load.whole) >= answers for load in loads), 60.0, "the loads")


async def read_some(gateway: Gateway, tier: str, stays: bool) -> None:
    """Begin to read a stream of an hour; then go, or stay until it is cut."""
    client = Client(gateway.address, gateway.key(tier), fresh=True)
    with contextlib.suppress(Cut, AssertionError):  # killed with its worker, or refused
        async for _ in client.stream(chat(stream=True, chunks=72_000, chunk_delay=0.05)):
            if not stays:
                break
    client.close()


def read_report(gateway: Gateway) -> Iterator[dict[str, str]]:
    """Of the months that are told as November's, as December's, and so on: of all that the rows know."""
    months = {row["period"][:7] for row in gateway.query("SELECT DISTINCT period FROM requests WHERE period <> ''")}
    for month in sorted(months):
        told = CliRunner().invoke(tollkeeper, ["usage", "-c", str(gateway.file), "--month", month, "--csv"])
        assert told.exit_code == 0, told.output
        yield from csv.DictReader(told.output.splitlines())


def add(lines: list[dict[str, str]], column: str) -> Decimal:
    return sum((Decimal(line[column]) for line in lines), Decimal(0))


def count_used(ledger: EmbeddedLedger, tier: str, what: str) -> int:
    """What the ledger has counted in the consumer's month: milli-units, or nano-USD."""
    limits = TIERS[tier]
    quota = Quota(f"{{consumer:demo-{tier}}}:{what}", 1 << 60, limits.get("zone", "UTC"), limits.get("anchor", 1))
    grant = ledger.peek(Ask("peek", (Need(quota, 0),)))
    assert isinstance(grant, Grant)
    return grant.standings[0].used

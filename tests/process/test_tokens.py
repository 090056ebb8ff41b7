"""Tokens and money, to the last one: what the ledger has charged is what the rows say was used, whatever went wrong."""

import asyncio
import os
import random
import shutil
import signal
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Outcome
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.script import month_key
from gateway.price import compile_price, price_tokens
from gateway.settings.schema import Price
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, chat
from tests.process.test_exactness import is_settled
from tests.redis import Server, running_redis

PRICE = Price(input=1.37, output=2.113, cached=0.7)
TOKENS, MONEY = "{consumer:demo-paid}:tokens-month", "{consumer:demo-paid}:money"
FAULTS = ("reset", "truncate", "in_band", "no_done", "empty")


def priced(**tier: Any) -> Document:
    """One tier of these limits; the echo engine's tokens have a price."""
    price = {"input": PRICE.input, "output": PRICE.output, "cached": PRICE.cached}
    return config(
        tiers={"paid": tier},
        models={"echo": {"backend": "echo", "price": price, "max_tokens": 400}},
        timeouts={"first_byte": "3s", "idle": "2s"},
    )


def ask(number: int) -> tuple[dict[str, Any], int]:
    """A request of some kind, and after how many pieces its client leaves (0: not)."""
    dice = random.Random(number)
    text = " ".join("word" for _ in range(dice.randrange(1, 60)))
    match number % 8:
        case 0 | 1:
            return chat(text, stream=True, chunks=dice.randrange(300), rate=2000), 0
        case 2:
            return chat(text, stream=True, chunks=dice.randrange(1, 200), usage="none"), 0
        case 3:
            return chat(text, stream=True, chunks=300, rate=300), dice.randrange(1, 60)
        case 4:
            return chat(text, stream=True, chunks=100, fail=dice.choice(FAULTS), after=dice.randrange(80)), 0
        case 5:
            return chat(text, fail=dice.choice((400, 429, 500, 503))), 0
        case 6:
            return chat(text, usage=dice.choice(("", "none", "zero"))), 0
        case _:
            return chat(text, chunks=dice.randrange(400)), 0


async def send(address: tuple[str, int], key: str, number: int) -> None:
    """One request on a connection of its own; what comes of it stands in its row."""
    document, leaves = ask(number)
    client = Client(address, key)
    try:
        if not document["stream"] or document["echo"].get("fail"):
            await client.ask(document, request_id=f"n{number}")
            return
        pieces = 0
        async for _ in client.stream(document, request_id=f"n{number}"):
            pieces += 1
            if pieces == leaves:
                break
    except (Cut, AssertionError):
        pass  # the engine failed before or inside the stream
    finally:
        client.close()


Counters = dict[tuple[str, str], int]  # milli-units by quota key and period


def read_file(gateway: Gateway, folder: Path) -> Counters:
    """What the supervisor's file says is used."""
    shutil.copy(gateway.state / "ledger.log", folder)
    ledger = EmbeddedLedger.open(folder, Clock())
    used = {name: ledger._book.counters.used(name) for name in ledger._book.counters.names()}
    ledger.close()
    return used


def read_redis(server: Server, period: str) -> Counters:
    """What Redis says is used of the two counters."""
    names = [(key, period) for key in (TOKENS, MONEY)]
    return {name: int(server.call("HGET", month_key(*name), "used")) for name in names}


def check_rows(rows: list[Any]) -> tuple[int, int]:
    """Each row against the table of outcomes; the tokens and the money of all."""
    rates = compile_price(PRICE)
    for row in rows:
        price = price_tokens(rates, row["tokens_in"], row["tokens_out"], row["tokens_cached"])
        assert row["cost_nano"] == price, dict(row)
        if not Outcome(row["outcome"]).keeps_units or row["outcome"] == "upstream_failed":
            assert row["tokens_in"] + row["tokens_out"] == 0, dict(row)
    return sum(row["tokens_in"] + row["tokens_out"] for row in rows), sum(row["cost_nano"] for row in rows)


async def count_all(folder: Path, requests: int, kills: int = 0, server: Server | None = None) -> Counter[str]:
    """So many requests at once, and workers killed among them; `server` counts, or the supervisor."""
    state = {"redis": server.url} if server is not None else {}
    limits = {"monthly_tokens": 10**9, "budget": "10000 USD/month", "concurrency": 10_000, "monthly": 10**6}
    with running_gateway({**priced(**limits), "state": state}, workers=2, folder=folder / "gateway") as gateway:
        address, key = gateway.address, gateway.key("paid")
        tasks = [asyncio.create_task(send(address, key, number)) for number in range(requests)]
        for _ in range(kills):
            await asyncio.sleep(0.3)
            gateway.note_processes()
            os.kill(gateway.workers()[0], signal.SIGKILL)
        await asyncio.gather(*tasks)
        known = gateway.rows
        await asyncio.to_thread(eventually, lambda: is_settled(gateway), 10.0, "all journals are settled")
        if not kills:
            await asyncio.to_thread(eventually, lambda: len(known()) == requests, 10.0, "a row for each request")
        for number, row in {int(row["request_id"][1:]): row for row in known()}.items():
            document, leaves = ask(number)
            asked = document.get("echo", {})
            if row["outcome"] == "complete" and document["stream"] and not asked.get("usage") and not asked.get("fail"):
                assert (row["tokens_out"], row["tokens_source"]) == (asked["chunks"], "counted") or leaves, dict(row)
        return await check_ledger(gateway, server)


async def check_ledger(gateway: Gateway, server: Server | None) -> Counter[str]:
    """The ledger against the rows; how often each outcome was seen."""
    rows = gateway.rows()
    tokens, money = check_rows(rows)
    period = rows[0]["period"]
    wanted = {(TOKENS, period): 1000 * tokens, (MONEY, period): money}

    def is_right() -> bool:
        with tempfile.TemporaryDirectory() as copy:
            used = read_file(gateway, Path(copy)) if server is None else read_redis(server, period)
        return wanted.items() <= used.items()

    assert tokens > 0
    await asyncio.to_thread(eventually, is_right, 5.0, f"the ledger says {wanted}")
    return Counter(row["outcome"] for row in rows)


@pytest.mark.parametrize("authority", ["supervisor", "redis"])
@pytest.mark.parametrize("kills", [0, 1])
async def test_tokens_and_money_are_exact(tmp_path: Path, kills: int, authority: str) -> None:
    (tmp_path / "gateway").mkdir()
    with ExitStack() as stack:
        server = stack.enter_context(running_redis()) if authority == "redis" else None
        seen = await count_all(tmp_path, 200, kills, server)
    wanted = {"complete", "left", "broken", "upstream_rejected", "upstream_failed"}
    assert wanted <= seen.keys() or kills, seen


async def test_they_are_exact_after_the_death_of_all(tmp_path: Path) -> None:
    """The supervisor is killed in the middle of everything, and a new one goes on where it was."""
    document = priced(monthly_tokens=10**9, budget="10000 USD/month")
    with running_gateway(document, workers=2, folder=tmp_path) as gateway:
        address, key = gateway.address, gateway.key("paid")
        tasks = [asyncio.create_task(send(address, key, number)) for number in range(60)]
        await asyncio.sleep(0.4)
        gateway.kill()
        await asyncio.gather(*tasks)
        await asyncio.to_thread(eventually, lambda: not gateway.survivors(), 8.0)
        with running_gateway(document, workers=2, folder=tmp_path) as successor:
            await asyncio.to_thread(eventually, lambda: is_settled(successor), 10.0, "all journals are settled")
            await check_ledger(successor, None)


async def test_racing_callers_never_exceed_a_budget(tmp_path: Path) -> None:
    """Sixty at once, each of which could cost a twentieth of the project's money: a race pays nobody's bill."""
    cap = {"budget": "0.02 USD/month", "by": "project"}
    document = priced(limits=[cap])
    document["models"]["echo"]["price"] = {"input": 1.0, "output": 10.0}
    keys = [f"key-of-client-{name}" for name in "ab"]
    document["consumers"] = {
        key[-1]: {"tier": "paid", "project": "p", "keys": [{"key": key, "id": key[-1]}]} for key in keys
    }
    with running_gateway(document, workers=2) as gateway:
        clients = [Client(gateway.address, keys[number % 2]) for number in range(60)]
        asked = [client.ask({**chat(chunks=300), "max_tokens": 100_000}) for client in clients]
        answers = await asyncio.gather(*asked)
        statuses = Counter(answer.status for answer in answers)
        assert statuses.keys() == {200, 429} and statuses[200] >= 4, statuses
        refused = next(answer for answer in answers if answer.status == 429)
        error = refused.json["error"]
        assert (error["number"], error["code"], refused.headers["x-should-retry"]) == (
            1507,
            "insufficient_quota",
            "false",
        )
        assert (error["details"]["rule"], error["details"]["limit"]) == ("tier:paid:budget:project", 0.02)
        for client in clients:
            client.close()
        await asyncio.to_thread(eventually, lambda: len(gateway.rows()) == 60)
        spent = sum(row["cost_nano"] or 0 for row in gateway.rows())
        assert 0 < spent <= 20_000_000

        def is_back() -> bool:
            copy = tmp_path / "copy"
            copy.mkdir(exist_ok=True)
            return [used for (key, _), used in read_file(gateway, copy).items() if key.startswith("{project:p}")] == [
                spent
            ]

        await asyncio.to_thread(eventually, is_back, 5.0, "what they did not use came back")

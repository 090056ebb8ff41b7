"""Rows 8 to 10, the parts of a request that can be timed alone: a lease's unit, a token seen before, a journal record,
the counters.
"""

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.journal import Closed, Journal, Opened
from gateway.ledger.account import Account, Charge
from gateway.ledger.clock import Clock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.lease import Wallet
from gateway.ledger.limit import Ask, Denial, Grant, Rate
from gateway.loader import load_plugin
from gateway.metrics import Board, make_board_file
from tests.bench.figure import Figure, Options
from tests.bench.place import WORK
from tests.plugins.issuer import AUDIENCE, Worker, exchange_with, public_pem, sign

_TIMES = 50_000
_FOLDER = WORK / "micro"


def time_parts(options: Options) -> list[Figure]:
    """The best of `rounds` runs each: what disturbs such a short loop only ever adds."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    lease = min(asyncio.run(_spend(n)) for n in range(options.rounds))
    token = min(asyncio.run(_identify()) for _ in range(options.rounds))
    record = min(_write(n) + _count() for n in range(options.rounds))
    return [
        Figure(8, "quota check on a held lease", lease, "us", target="<= 2 us"),
        Figure(9, "RS256 token seen before", token, "us", target="<= 5 us"),
        Figure(10, "journal records and counters of a request, in the worker", record, "us", target="<= 5 us"),
    ]


def _time(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    for _ in range(_TIMES):
        run()
    return (time.perf_counter() - begun) / _TIMES * 1e6


async def _spend(turn: int) -> float:
    """A wallet beside its authority, at a rate whose lease outlasts the run of takes it covers."""
    folder = _FOLDER / f"ledger-{turn}"
    folder.mkdir()
    ledger = EmbeddedLedger.open(folder, Clock())
    loop = asyncio.get_running_loop()

    def send(ask: Ask) -> asyncio.Future[Grant | Denial]:
        answer: asyncio.Future[Grant | Denial] = loop.create_future()
        answer.set_result(ledger.ask("bench", ask))
        return answer

    wallet = Wallet(send, lambda told: None, time.monotonic, send)
    account = Account((Rate("bench", 1_000_000_000, 60_000_000, 1_500_000_000),))
    spent = taken = 0.0
    while taken < _TIMES:
        begun = time.perf_counter()
        answer = wallet.take(account, "charge", 1_000)
        if isinstance(answer, Charge):
            spent += time.perf_counter() - begun
            taken += 1
        elif not isinstance(answer, Denial):
            await answer
    ledger.close()
    return spent / taken * 1e6


async def _identify() -> float:
    plugin: Any = load_plugin("jwt", {"keys": [{"kid": "a", "pem": public_pem("RS256")}], "audience": AUDIENCE,
                                      "default_tier": "free"})  # fmt: skip
    await plugin.start(Worker())
    exchange = exchange_with(("authorization", f"Bearer {sign()}"), *[(f"x-{n}", "y") for n in range(8)])
    begun = 0.0
    for turn in range(_TIMES + 1):
        exchange.credential = None
        await plugin.access(exchange)
        if not turn:
            begun = time.perf_counter()  # the first one was verified
    return (time.perf_counter() - begun) / _TIMES * 1e6


def _write(turn: int) -> float:
    journal = Journal(Path(_FOLDER), f"bench-{turn}")
    opened = Opened("0" * 32, 1, "POST", "/v1/chat/completions", "127.0.0.1", "0" * 32, 1, consumer="c", model="m")
    closed = Closed(opened, 2, 200, "ok")
    try:
        return _time(lambda: journal.write(opened)) + _time(lambda: journal.write(closed))
    finally:
        journal.close()


def _count() -> float:
    board = Board(make_board_file())
    requests = board.index("requests_total", "/v1/chat/completions", "m", "bench", "2xx")
    seconds = board.index("request_seconds", "/v1/chat/completions", "m")

    def count() -> None:
        board.add(requests)
        board.observe(seconds, 0.01)

    return _time(count)

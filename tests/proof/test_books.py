"""Very many requests while everything is killed at random: each answer has one row, and the row tells what was sent."""

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gateway.control.store import upgrade_store
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, Cut, chat
from tests.postgres import Server, need_postgres, running_postgres
from tests.process.test_exactness import VICTIMS, is_settled

pytestmark = pytest.mark.proof

REQUESTS = int(os.environ.get("TOLLKEEPER_PROOF_REQUESTS", "100000"))
KILLS = 20
CLIENTS = 24
PRICE = {"input": 3, "output": 11}  # USD per million tokens


class Told(NamedTuple):
    """What a client was answered."""

    status: int
    tokens_in: int
    tokens_out: int


class Clients:
    """Ask until `count` requests were asked, wherever the gateway is now. A gate holds them while there is none."""

    def __init__(self, count: int) -> None:
        self.told: dict[str, Told] = {}
        self.cut: set[str] = set()
        self.gate = asyncio.Event()
        self._left = count
        self._address: tuple[str, int] = ("", 0)
        self._key = ""

    @property
    def done(self) -> int:
        return len(self.told) + len(self.cut)

    def turn_to(self, gateway: Gateway) -> None:
        self._address, self._key = gateway.address, gateway.key("open")
        self.gate.set()

    async def run(self) -> None:
        await asyncio.gather(*[self._ask_on() for _ in range(CLIENTS)])

    async def _ask_on(self) -> None:
        while self._left > 0:
            await self.gate.wait()
            client, address = Client(self._address, self._key), self._address
            while self._left > 0 and self.gate.is_set() and address == self._address:
                self._left -= 1
                await self._ask(client, f"proof-{self._left}")
            client.close()

    async def _ask(self, client: Client, name: str) -> None:
        number = int(name.partition("-")[2])
        try:
            answer = await client.ask(chat("word " * (1 + number % 40), chunks=1 + number % 9), request_id=name)
            usage = answer.json["usage"] if answer.status == 200 else {"prompt_tokens": 0, "completion_tokens": 0}
            self.told[name] = Told(answer.status, usage["prompt_tokens"], usage["completion_tokens"])
        except Cut:
            self.cut.add(name)
            await asyncio.sleep(0.02)


def document(**state: Any) -> dict[str, Any]:
    return config(models={"echo": {"backend": "echo", "price": PRICE}}, state=state)


async def kill_at_random(clients: Clients, gateway: Gateway, victims: dict[str, Callable[[Gateway], object]]) -> None:
    """The next kill when so many more requests were asked."""
    dice = random.Random(1)
    for number in range(KILLS // 2):
        until = clients.done + REQUESTS // (KILLS + 2)
        while clients.done < until and clients.done < REQUESTS - CLIENTS:
            await asyncio.sleep(0.02)
        gateway.note_processes()
        victim = [*victims][number % len(victims)] if number < len(victims) else dice.choice([*victims])
        with contextlib.suppress(ProcessLookupError, AssertionError):
            await asyncio.to_thread(victims[victim], gateway)


def killer(find: Callable[[Gateway], int]) -> Callable[[Gateway], object]:
    return lambda gateway: os.kill(find(gateway), signal.SIGKILL)


@pytest.fixture(params=["sqlite", "postgres"])
def server(request: pytest.FixtureRequest) -> Iterator[Server | None]:
    if request.param == "sqlite":
        yield None
        return
    need_postgres()
    with running_postgres() as running:
        yield running


async def test_each_answer_has_one_row_whatever_is_killed(server: Server | None, tmp_path: Path) -> None:
    victims: dict[str, Callable[[Gateway], object]] = {
        name: killer(find) for name, find in VICTIMS.items() if name != "supervisor"
    }
    state: dict[str, Any] = {}
    if server is not None:
        upgrade_store(url := server.make_database())
        state = {"database": url}

        def crash(_: Gateway) -> None:
            server.stop(signal.SIGQUIT)
            server.start()

        victims["postgres"] = crash
    clients = Clients(REQUESTS)
    running = asyncio.create_task(clients.run())
    with contextlib.ExitStack() as stack:
        gateway = stack.enter_context(running_gateway(document(**state), workers=2, folder=tmp_path))
        clients.turn_to(gateway)
        await kill_at_random(clients, gateway, victims)
        clients.gate.clear()
        gateway.note_processes()
        gateway.kill()
        await asyncio.to_thread(eventually, lambda: not gateway.survivors(), 60.0)
        gateway = stack.enter_context(running_gateway(document(**state), workers=2, folder=tmp_path))
        clients.turn_to(gateway)
        await kill_at_random(clients, gateway, victims)
        await running
        await asyncio.to_thread(eventually, lambda: is_settled(gateway), 120.0, "all journals are settled")
        await asyncio.to_thread(eventually, lambda: len(clients.told) <= count(gateway), 120.0, "all rows")
        check(gateway.rows(), clients)
        assert gateway.query("SELECT id FROM open_requests") == []


def count(gateway: Gateway) -> int:
    return int(gateway.query("SELECT count(*) AS n FROM requests WHERE operation <> ''")[0]["n"])


def check(rows: list[Any], clients: Clients) -> None:
    rows = [row for row in rows if row["operation"]]
    by_name = Counter(row["request_id"] for row in rows)
    print(f"{len(clients.told)} answered {Counter(told.status for told in clients.told.values())}, "
          f"{len(clients.cut)} cut, {len(rows)} rows {Counter(row['outcome'] for row in rows)}")  # fmt: skip
    assert max(by_name.values()) == 1, "none twice"
    assert clients.told.keys() <= by_name.keys(), "one for each answer"
    assert by_name.keys() <= clients.told.keys() | clients.cut, "none but what was asked"
    for row in rows:
        cost = 1000 * (PRICE["input"] * row["tokens_in"] + PRICE["output"] * row["tokens_out"])
        told = clients.told.get(row["request_id"])
        if told is not None and told.status == 200:
            assert (row["tokens_in"], row["tokens_out"]) == (told.tokens_in, told.tokens_out), dict(row)
            assert row["cost_nano"] == cost, dict(row)
    wanted = sum(PRICE["input"] * told.tokens_in + PRICE["output"] * told.tokens_out for told in clients.told.values())
    paid = sum(row["cost_nano"] or 0 for row in rows if (clients.told.get(row["request_id"]) or (0,))[0] == 200)
    assert paid == 1000 * wanted

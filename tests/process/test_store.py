"""The store fails under a running gateway: requests do not notice, nothing is lost, and it recovers by itself."""

import asyncio
import contextlib
import resource
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.control.store import upgrade_store
from gateway.settings.state import store_file
from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, Load, chat
from tests.postgres import Server, need_postgres, running_postgres
from tests.process.test_keys import run

LONG = 120.0  # seconds in which a busy machine does anything


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Tests leave it running."""
    need_postgres()
    with running_postgres() as running:
        yield running


def database(server: Server) -> str:
    upgrade_store(url := server.make_database())
    return url


def is_up(gateway: Gateway) -> bool:
    return gateway.metrics()["tollkeeper_store_up"] == 1


async def later(check: object, what: str = "") -> None:
    await asyncio.to_thread(eventually, check, LONG, what)  # type: ignore[arg-type]


async def check_rows(gateway: Gateway, load: Load) -> None:
    """Each answer has its row, once."""
    load.check_flawless()
    await later(lambda: len(gateway.query("SELECT id FROM requests")) == len(load.whole), "all rows")
    assert {row["request_id"] for row in gateway.rows()} == load.whole.keys()


async def test_f41_a_postgres_that_comes_late_stands_still_and_is_gone(server: Server, tmp_path: Path) -> None:
    url = database(server)
    server.stop()
    gateway = Gateway(tmp_path, config(state={"database": url}, workers=2))
    try:
        await asyncio.to_thread(gateway.wait_ready, False)
        await later(lambda: gateway.status()["engines"]["echo"]["state"] == "ready")
        load = Load(gateway.address, gateway.key("open"), pause=0.02)
        load.start(4)
        await later(lambda: len(load.whole) > 20, "it serves without its store")
        assert not is_up(gateway)
        server.start()
        await later(lambda: is_up(gateway) and len(gateway.rows()) > 20, "what was asked meanwhile")
        server.send(signal.SIGSTOP)
        await later(lambda: not is_up(gateway), "it is told")
        await later(lambda: gateway.metrics()["tollkeeper_trace_lag_seconds"] > 2)
        server.send(signal.SIGCONT)
        await later(lambda: is_up(gateway) and gateway.metrics()["tollkeeper_trace_lag_seconds"] == 0, "it recovers")
        server.stop(signal.SIGQUIT)
        await later(lambda: not is_up(gateway))
        server.start()
        await later(lambda: is_up(gateway))
        await load.stop(LONG)
        await check_rows(gateway, load)
        assert await asyncio.to_thread(gateway.stop, LONG) == 0
    finally:
        gateway.clear()


async def test_a_key_that_is_revoked_at_one_replica_stops_at_the_other(server: Server) -> None:
    document = config(state={"database": database(server)})
    with running_gateway(document) as one, running_gateway(document, workers=2) as two:
        key = await run(one, "key", "new", "--consumer", "bob", "--tier", "open")
        clients = [Client(gateway.address, key) for gateway in (one, two)]
        for client in clients:
            assert (await client.ask(chat())).status == 200
        await run(one, "key", "revoke", key.split("_")[1])
        deadline = asyncio.get_running_loop().time() + LONG
        while (await client.ask(chat())).status == 200:
            assert asyncio.get_running_loop().time() < deadline
        for client in clients:
            assert (await client.ask(chat())).status == 401
            client.close()
        await later(lambda: len({row["instance"] for row in one.query("SELECT instance FROM writers")}) == 2)


def test_another_schema_ends_the_start(server: Server, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, config(state={"database": server.make_database()}))
    assert gateway.process.wait(LONG) == 3
    assert "the store is empty, this version needs" in gateway.log
    assert "tollkeeper store upgrade" in gateway.log
    gateway.clear()


async def test_f40_a_full_disk_under_the_store() -> None:
    """The limit on what control may write stands for the full disk: SQLite gets an error in the middle of a write."""
    with running_gateway(config(), workers=2) as gateway:
        load = Load(gateway.address, gateway.key("open"), pause=0.02)
        load.start(4)
        await later(lambda: len(gateway.rows()) > 20)
        control = gateway.control_pid()
        unlimited = resource.prlimit(control, resource.RLIMIT_FSIZE)
        resource.prlimit(control, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
        await later(lambda: not is_up(gateway), "it is told")
        await asyncio.sleep(0.5)
        resource.prlimit(control, resource.RLIMIT_FSIZE, unlimited)
        await later(lambda: is_up(gateway), "it recovers")
        await load.stop(LONG)
        await check_rows(gateway, load)
        assert gateway.query("PRAGMA integrity_check")[0][0] == "ok"
        assert gateway.control_pid() == control


@contextlib.contextmanager
def locked_store(gateway: Gateway) -> Iterator[sqlite3.Connection]:
    """Somebody else writes, until he rolls back."""
    path = store_file(str(gateway.state))
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=LONG)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield other


@pytest.mark.proof
async def test_f41_a_store_that_is_locked_for_a_minute() -> None:
    with running_gateway(config(), workers=2) as gateway:
        load = Load(gateway.address, gateway.key("open"), pause=0.01)
        load.start(4)
        await later(lambda: len(gateway.rows()) > 20)
        with contextlib.closing(
            sqlite3.connect(store_file(str(gateway.state)), isolation_level=None, timeout=LONG)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            await later(lambda: not is_up(gateway), "it is told")
            await asyncio.sleep(60.0)
            other.execute("ROLLBACK")
        await later(lambda: is_up(gateway), "it recovers")
        await load.stop(LONG)
        await check_rows(gateway, load)


async def test_beyond_the_journals_bound_requests_go_on_unwritten() -> None:
    with running_gateway(config(state={"journal": "40KB"})) as gateway:
        client = Client(gateway.address, gateway.key("open"))
        with contextlib.closing(
            sqlite3.connect(store_file(str(gateway.state)), isolation_level=None, timeout=LONG)
        ) as other:
            other.execute("BEGIN IMMEDIATE")
            dropped = 'tollkeeper_trace_dropped_total{reason="bound"}'
            deadline = asyncio.get_running_loop().time() + LONG
            asked = 0
            while not gateway.metrics().get(dropped):
                assert (await client.ask(chat())).status == 200
                asked += 1
                assert asyncio.get_running_loop().time() < deadline
            other.execute("ROLLBACK")
        await later(lambda: is_up(gateway))
        metrics = gateway.metrics()
        assert metrics["tollkeeper_journal_bytes"] >= 40_000 == metrics["tollkeeper_journal_limit_bytes"]
        await later(lambda: len(gateway.rows()) > 10)  # the store may never have been seen to be away
        assert len(gateway.rows()) < asked
        known = len(gateway.rows())

        async def is_written_again() -> bool:
            assert (await client.ask(chat())).status == 200
            return len(gateway.rows()) > known + 5

        while not await is_written_again():
            assert asyncio.get_running_loop().time() < deadline + LONG, "what is stored makes room"
        client.close()

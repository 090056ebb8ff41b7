"""What is sick is left alone, by all workers together: an endpoint that fails, a body that its engine dies of."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

from gateway.supervisor.breaker import OPEN, TRIALS
from tests.harness import Document, Gateway, config, eventually, running_gateway
from tests.load import Answer, Client, Load, chat

GOOD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"
SICK = b"HTTP/1.1 503 Sick\r\ncontent-length: 2\r\ncontent-type: application/json\r\n\r\n{}"


class Patient:
    """A model server that is sick while `is_sick`; `asked` are the loop's times of requests while it was."""

    def __init__(self) -> None:
        self.is_sick = False
        self.asked: list[float] = []
        self.open = 0  # connections
        self.port = 0

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
                await reader.readexactly(int(length.split(b":")[1]))
                if self.is_sick:
                    self.asked.append(asyncio.get_running_loop().time())
                writer.write(SICK if self.is_sick else GOOD)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()
            self.open -= 1


def document(port: int, workers: int) -> Document:
    return config(
        workers=workers,
        backends={"up": {"http": {"endpoints": [{"url": f"http://127.0.0.1:{port}"}]}}},
        models={"echo": {"backend": "up"}},
        routes=[{"path": "/v1/chat/completions"}],
    )


async def test_f14_a_burst_of_errors_is_not_answered_with_more_requests() -> None:
    """Four workers, one endpoint, hundreds of requests a second: sick for a while, then well again."""
    patient = Patient()
    server = await patient.start()
    now = asyncio.get_running_loop().time
    with running_gateway(document(patient.port, 4)) as gateway:
        load = Load(gateway.address, gateway.key("open"), pause=0.05)
        load.start(24, fresh=True)
        await until(lambda: load.statuses[200] > 200)
        patient.is_sick = True
        await until(lambda: open_states(gateway) == {"up": [f"http://127.0.0.1:{patient.port}"]})
        opened = now()
        await until(lambda: patient.asked[-1] > opened + 1)  # a trial, and it fails
        await asyncio.sleep(1)
        reached = [at for at in patient.asked if at > opened + 0.1]
        patient.is_sick, well = False, now()
        await until(lambda: not open_states(gateway), 2 * OPEN)
        back = now() - well
        good = load.statuses[200]
        await until(lambda: load.statuses[200] > good + 200)
        await load.stop()
    await until(lambda: not patient.open)
    server.close()
    assert not load.cut
    assert 1 <= len(reached) <= TRIALS, "trials, from all workers together"
    assert len(patient.asked) < 100, "it was noticed soon"
    refused = [answer for answer in load.whole.values() if answer.headers.get("x-tollkeeper-error") == "1706"]
    assert len(refused) > 200
    assert {int(answer.headers["retry-after"]) for answer in refused} <= set(range(1, round(1.2 * OPEN) + 1))
    assert max(answer.received - answer.sent for answer in refused) < 3
    assert back <= 2 * OPEN


async def test_a_body_that_took_its_engine_down_twice_is_refused() -> None:
    """By every worker, also those that are started later; other bodies go on."""
    deadly, harmless = chat(stream=True, fail="exit"), chat("good day")
    with running_gateway(config(workers=2)) as gateway:

        async def ask(body: dict[str, Any]) -> Answer:
            client = Client(gateway.address, gateway.key("open"), fresh=True)
            return await client.ask(body)

        for _ in range(2):
            assert (await ask(deadly)).json["error"]["number"] == 1711
            assert (await ask(harmless)).status == 200, "its engine is back"
        for _ in range(8):
            refused = await ask(deadly)
            assert (refused.status, refused.json["error"]["code"]) == (400, "poison_request")
            assert refused.headers["x-should-retry"] == "false"
        assert (await ask(harmless)).status == 200
        os.kill(gateway.workers()[0], signal.SIGKILL)
        eventually(lambda: len(gateway.workers()) == 2)
        assert {(await ask(deadly)).status for _ in range(8)} == {400}
        assert gateway.status()["engines"]["echo"]["restarts"] == {"exit": 2}
        gateway.note_processes()


def open_states(gateway: Gateway) -> Any:
    return gateway.status()["endpoints_down"]


async def until(check: Callable[[], Any], within: float = 10.0) -> None:
    """Wait while the load goes on."""
    async with asyncio.timeout(within):
        while not check():
            await asyncio.sleep(0.02)

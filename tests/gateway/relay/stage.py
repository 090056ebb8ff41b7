"""A relay between real sockets: a client, scripted upstreams, and a supervisor at the other end of a real link."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from gateway.http.server import HttpServer, ServerLimits
from gateway.journal import Closed, Journal, Record
from gateway.ledger.clock import Clock as LedgerClock
from gateway.ledger.embedded import EmbeddedLedger
from gateway.ledger.lease import Wallet
from gateway.ledger.limit import Ask, Refund, Return
from gateway.link import (
    Acquire,
    Command,
    Done,
    Failed,
    Found,
    Gone,
    Link,
    LookUp,
    Observation,
    Peek,
    Ready,
    Release,
    Slot,
    Trial,
)
from gateway.metrics import Board, Reader, make_board_file
from gateway.relay.assembly import assemble
from gateway.relay.carriage import Carriage
from gateway.relay.directory import Directory, read_consumers
from gateway.relay.forward import Forwarder
from gateway.relay.ids import Ids
from gateway.relay.places import Places
from gateway.relay.relay import Relay
from gateway.relay.services import Clock, make_services
from gateway.relay.tally import Tally
from gateway.relay.witness import Witness
from gateway.settings.credentials import hash_keys
from gateway.settings.load import load_text
from tests.gateway.http.peers import RawClient, Site, eventually

KEY = "key-of-acme-0001"
CONFIG = """
limits: {body: 10KB, answer: 20KB}
tiers: {free: {rate: 100/min, burst: 150, monthly: 1000}}
consumers: {acme: {tier: free, project: rockets, keys: [{key: key-of-acme-0001, id: main}]}}
"""


class Answered(NamedTuple):
    """What the client got. `lines` are its header lines in lower case."""

    status: int
    lines: list[str]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((line[len(name) + 2 :] for line in self.lines if line.startswith(f"{name}: ")), None)

    @property
    def number(self) -> int:
        """The number of the catalogue; 0 where the gateway refused nothing."""
        told = int(self.header("x-tollkeeper-error") or 0)
        assert not told or json.loads(self.body)["error"]["number"] == told
        return told


class Supervisor:
    """Answers a worker's questions: the ledger is real, slots and deaths are as the test sets them."""

    def __init__(self, directory: Path) -> None:
        self.ledger = EmbeddedLedger.open(directory, LedgerClock())
        self.slot: Slot | Failed | asyncio.Future[Any] = Failed("no slot", 1707)
        self.dead = False
        self.trials = 0  # how many more are given
        self.keys: dict[bytes, Any] = {}
        self.seen: list[Any] = []

    def answer(self, message: Any) -> Any:
        self.seen.append(message)
        match message:
            case Ask():
                return self.ledger.ask("w", message)
            case Peek():
                return self.ledger.peek(message.ask)
            case Refund():
                self.ledger.refund("w", message)
            case Return():
                self.ledger.give_back("w", message)
            case Acquire():
                return self.slot
            case Command():
                return Done({})  # no engine's life is known
            case Gone():
                return Done("signal 9" if self.dead else "")
            case Trial():
                self.trials -= 1
                return Done(self.trials >= 0)
            case LookUp():
                return Found(self.keys.get(message.digest))
        return None

    def told(self, kind: type[Any]) -> list[Any]:
        return [message for message in self.seen if isinstance(message, kind)]

    @property
    def held(self) -> int:
        """Slots that are out."""
        released = {message.request for message in self.told(Release)}
        return len([message for message in self.told(Acquire) if message.request not in released])


class Stage:
    """One worker's relay. `site` starts upstreams and clients, and cleans all of it up."""

    def __init__(self, site: Site, folder: Path) -> None:
        self.site = site
        self.folder = folder
        self.supervisor = Supervisor(folder)
        self.relay: Relay
        self.places: Places
        self.port = 0
        self.received: list[bytes] = []  # by upstreams

    async def start(self, text: str, limits: ServerLimits | None = None) -> "Stage":
        """Serve the configuration `text`, to which CONFIG is added."""
        loop = asyncio.get_running_loop()
        left, right = socket.socketpair()
        _, self.link = await loop.create_connection(lambda: Link(lambda _: None), sock=left)
        _, self._far = await loop.create_connection(lambda: Link(self.supervisor.answer), sock=right)
        config = hash_keys(load_text(CONFIG + text, {}))
        self.assembly = assemble(config, 1_700_000_000)
        self.places = Places(self.link, config)
        self.wallet = Wallet(self.link.call, self.link.tell, Clock.monotonic, lambda ask: self.link.call(Peek(ask)))
        directory = Directory(read_consumers(config.consumers), self.link.call)
        file = make_board_file()
        self.board, self._reader = Board(file), Reader(file)
        self.journal = Journal(self.folder / "journal", "w")
        witness = Witness(self.journal, Tally(self.board, self.assembly.directions.registry), Clock.monotonic)
        self.services = make_services(self.link, self.wallet, directory, self.board, config)
        for plugin in self.assembly.plugins:
            await plugin.start(self.services)
        self.pool = self.site.pool()
        forwarder = Forwarder(self.pool, self.places, config.timeouts.connect, witness.opened, Clock.monotonic)
        carriage = Carriage(forwarder, self.places, self.site.sweeper, config, witness.progressed)
        self.budget = forwarder.budget
        self.relay = Relay(self.assembly.directions, carriage, witness, 1, Ids())
        server: HttpServer
        server, self.port = await self.site.serve(self.relay.handle, limits)
        server.on_refusal = lambda _, number, message: self.relay.refuse(number, message)
        return self

    async def upstream(self, *answers: bytes) -> str:
        """An origin that gives these answers one after the other (the last one again and again), and its URL."""
        left = list(answers)

        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while True:
                self.received.append(await read_whole(reader))
                writer.write(left.pop(0) if len(left) > 1 else left[0])
                await writer.drain()
                if b"connection: close" in self.received[-1]:
                    return

        return f"http://127.0.0.1:{(await self.site.upstream(script)).port}"

    async def ask(
        self, method: str = "POST", path: str = "/v1/x", body: bytes = b"", key: str = KEY, **headers: str
    ) -> Answered:
        """One request on a connection of its own."""
        client = await self.send(method, path, body, key, **headers)
        answered = await read_answer(client, method)
        client.close()
        return answered

    async def send(self, method: str, path: str, body: bytes = b"", key: str = KEY, **headers: str) -> RawClient:
        client = await self.site.client(self.port)
        lines = [f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items()]
        if key:
            lines.append(f"authorization: Bearer {key}\r\n")
        if body or method == "POST":
            lines.append(f"content-length: {len(body)}\r\n")
        await client.send(f"{method} {path} HTTP/1.1\r\nhost: gate\r\n{''.join(lines)}\r\n".encode() + body)
        return client

    # --- what was left behind

    async def blamed(self) -> list[str]:
        """Whose fault the failures were, as the supervisor was told."""
        await self.link.call(Ready())  # behind everything that was told before
        return [seen.blame for seen in self.supervisor.told(Observation) if not seen.ok]

    def records(self) -> list[Record]:
        lines = (self.folder / "journal" / "w.0.jsonl").read_bytes().splitlines()
        decoder = msgspec.json.Decoder(Record)
        return [decoder.decode(line) for line in lines]

    def closed(self) -> list[Closed]:
        return [record for record in self.records() if isinstance(record, Closed)]

    async def row(self) -> Closed:
        """The one row of the one request, when it is over."""
        await eventually(self.closed)
        (row,) = self.closed()
        return row

    def used(self) -> int:
        """Milli-units of the month that acme has used."""
        counters = self.supervisor.ledger._book.counters
        return sum(counters.used(name) for name in counters.names() if name[0] == "{consumer:acme}:month")

    def counted(self, *series: str) -> float:
        """What a counter of the metrics says."""
        return sum(self._reader.read().get(series, ()))

    def inflight(self) -> float:
        return sum(sum(slots) for series, slots in self._reader.read().items() if series[0] == "inflight")

    async def close(self) -> None:
        """Nothing may be left: no request in flight, no slot held, one row a request."""
        await eventually(lambda: not self.inflight() and not self.budget.live and not self.budget.retrying)
        await eventually(lambda: not self.supervisor.held)
        ids = [row.opened.id for row in self.closed()]
        assert len(set(ids)) == len(ids)
        self.wallet.drain()
        await asyncio.sleep(0.01)
        for plugin in self.assembly.plugins:
            await plugin.stop()
        self.link.close()
        self._far.close()
        self.journal.close()
        self._reader.close()
        self.supervisor.ledger.close()


async def read_whole(reader: asyncio.StreamReader) -> bytes:
    """One request, with its body however it is framed."""
    head = await reader.readuntil(b"\r\n\r\n")
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        body = b""  # the head may end in a 0 as well
        while not body.endswith(b"0\r\n\r\n"):
            body += await reader.readuntil(b"\r\n")
        return head + body
    for line in lowered.split(b"\r\n"):
        if line.startswith(b"content-length:"):
            head += await reader.readexactly(int(line.split(b":")[1]))
    return head


async def read_answer(client: RawClient, method: str = "GET") -> Answered:
    head = (await client.head()).decode("latin-1").lower().split("\r\n")
    status, lines = int(head[0].split()[1]), head[1:-2]
    answered = Answered(status, lines, b"")
    if method == "HEAD" or status in (204, 304):
        return answered
    async with asyncio.timeout(5):
        if answered.header("transfer-encoding") == "chunked":
            return answered._replace(body=await read_chunks(client.reader))
        length = answered.header("content-length")
        if length is not None:
            return answered._replace(body=await client.reader.readexactly(int(length)))
        return answered._replace(body=await client.rest())


async def read_chunks(reader: asyncio.StreamReader) -> bytes:
    """A chunked body. Raises IncompleteReadError where it breaks off."""
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        await reader.readexactly(2)
    await reader.readexactly(2)
    return b"".join(parts)


def ok(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """A whole answer of an upstream."""
    head = "".join(f"{line}\r\n" for line in lines)
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{head}\r\n".encode() + body


def chunked(*pieces: bytes, end: bool = True, kind: str = "text/event-stream") -> bytes:
    """A streamed answer of an upstream; without its `end` it stays open."""
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (b"0\r\n\r\n" if end else b"")
    return f"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-type: {kind}\r\n\r\n".encode() + body

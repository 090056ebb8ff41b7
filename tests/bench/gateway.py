"""Tollkeeper as it is measured: the whole chain on, journal and ingest running, its processes told apart by role."""

import json
import shlex
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import insert

from gateway.control.store import open_store
from gateway.control.tables import consumers, keys
from tests.bench import cpu
from tests.bench.load import key_of
from tests.bench.peers import Proxy, write_static_config
from tests.bench.place import KEY, LOAD_CORE, MODEL, PROXY_CORE, WORK, find, free_port, running
from tests.plugins.issuer import AUDIENCE, public_pem

_JWT = {"jwt": {"keys": [{"kid": "a", "pem": public_pem("RS256")}], "audience": AUDIENCE, "default_tier": "bench"}}
_SCOPES: dict[str, Any] = {"models": [], "routes": [], "created": 1}


class Shape(NamedTuple):
    """How large the configuration is. `consumers` above 1 have 100/min each and keys numbered from 1; one alone has a
    rate of which the worker always holds a lease. `stored` keys lie in the store beside those of the file. With the URL
    of a `redis` the ledger is there, and jwt and acl stand in the chain. With `slots` the upstream is an engine of
    ours, the same server."""

    consumers: int = 1
    routes: int = 1
    stored: int = 0
    workers: int = 1
    cores: str = str(PROXY_CORE)
    redis: str = ""
    slots: int = 0


def write_config(folder: Path, upstream: int, shape: Shape) -> tuple[Path, int, int]:
    """The configuration file, and the ports of its proxy and status addresses. JSON is YAML."""
    port, status = free_port(), free_port()
    routes: list[dict[str, Any]] = [{"path": f"/extra/{n}"} for n in range(shape.routes - 1)]
    config: dict[str, Any] = {
        "listen": {"proxy": f"127.0.0.1:{port}", "status": f"127.0.0.1:{status}", "admin": ""},
        "workers": shape.workers,
        "limits": {"connections": 15_000},
        "state": {"directory": str(folder / "var")},
        "tiers": {"bench": {"rate": "10_000_000/min" if shape.consumers == 1 else "100/min"}},
        "consumers": dict(_consumers(shape.consumers)),
        "backends": {"fleet": _engine(shape.slots) if shape.slots else _server(upstream)},
        "models": {MODEL: {"backend": "fleet"}},
        "plugins": [{"cors": {"origins": ["https://app.example"]}}, {"key_auth": {}}, {"quota": {}}],
        "routes": [*routes, {"path": "/v1/chat/completions"}],
    }
    if shape.redis:
        config["state"]["redis"] = shape.redis
        config["roles"] = {"caller": {"may": ["infer"]}}
        config["plugins"][2:2] = [_JWT, {"acl": {}}]
    path = folder / "gateway.yaml"
    path.write_text(json.dumps(config, separators=(", ", ": ")))
    return path, port, status


def _server(port: int) -> dict[str, Any]:
    return {"http": {"endpoints": [{"url": f"http://127.0.0.1:{port}"}]}}


def _engine(slots: int) -> dict[str, Any]:
    template = write_static_config("engine", "PORT")
    serve = f"taskset -c {LOAD_CORE} {find('nginx')} -p {WORK} -c {template}.{{port}}"
    run = f"sed s/PORT/{{port}}/ {template} > {template}.{{port}}; exec {serve}"
    command = {"run": f"sh -c {shlex.quote(run)}", "health": "/"}
    return {"command": command, "slots": slots, "queue": 10_000}


def _consumers(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if count == 1:
        yield "bench", _consumer(KEY)
    else:
        yield from ((f"bench-{n:06d}", _consumer(key_of(n))) for n in range(1, count + 1))


def _consumer(key: str) -> dict[str, Any]:
    return {"tier": "bench", "keys": [{"sha256": sha256(key.encode()).hexdigest()}]}


def _fill_store(state: Path, count: int) -> None:
    """Keys of one consumer, as `tollkeeper key new` would have made them one by one."""
    state.mkdir(mode=0o700)
    store = open_store(str(state / "store.sqlite"))
    with store.writing.begin() as connection:
        connection.execute(insert(consumers), [{"name": "stored", "tier": "bench", "project": "", **_SCOPES}])
        for first in range(0, count, 100_000):
            numbers = range(first, min(first + 100_000, count))
            rows = ({"id": f"{n:012d}", "digest": sha256(b"%d" % n).digest()} for n in numbers)
            fixed = {"consumer": "stored", "hint": "0000", "expires": 0, "revoked": 0, **_SCOPES}
            connection.execute(insert(keys), [row | fixed for row in rows])
    store.writing.dispose()


@contextmanager
def tollkeeper(name: str, upstream: int, shape: Shape | None = None) -> Iterator[Proxy]:
    """A gateway with a fresh state directory."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shape = shape or Shape()
    config, port, status = write_config(folder, upstream, shape)
    if shape.stored:
        _fill_store(folder / "var", shape.stored)
    with running(name, serve_command(config), port, shape.cores) as process:
        await_ready(status)
        yield Proxy(name, port, process.pid)


def await_ready(status: int, patience: float = 180) -> None:
    """Return when the gateway says that it is ready; raises TimeoutError."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{status}/ready", timeout=5).close()
        except OSError:
            time.sleep(0.01)
        else:
            return
    raise TimeoutError(f"the gateway was not ready after {patience} s")


def serve_command(config: Path) -> list[str]:
    return [str(Path(sys.executable).parent / "tollkeeper"), "serve", str(config)]


def workers(proxy: Proxy) -> list[int]:
    """The pids of a gateway's workers."""
    return [pid for pid in cpu.tree(proxy.pid) if cpu.role(pid) == "worker"]

"""Every alert is fired by a real fault: a real Prometheus, at 1/60 of the true time, scrapes a real gateway.

What is healthy is silent first. Then one fault after the other is made; each is silent until then.
"""

import contextlib
import itertools
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli.session import Refused
from gateway.monitoring.alerts import ALERTS
from gateway.settings.state import journal_folder, store_file
from tests.harness import eventually
from tests.monitoring.prometheus import STALLS, needs_prometheus
from tests.monitoring.scene import STORE, Scene, watched_gateway, write_certificate
from tests.monitoring.scenery import Client, repeating, small_disk, traffic

pytestmark = [pytest.mark.proof, needs_prometheus]

SCALE = 60
HEALTH = 40.0  # seconds, which are as many minutes
Ask = Callable[[Client], object]
Fault = Callable[[Scene], AbstractContextManager[None]]


@contextmanager
def renew_no_certificate(scene: Scene) -> Iterator[None]:
    write_certificate(scene.certificate.parent, timedelta(days=1))
    yield


@contextmanager
def use_a_month(scene: Scene) -> Iterator[None]:
    with scene.client("pro") as client:
        while client.chat("dear") == 200:
            pass
    yield


@contextmanager
def refuse_many(scene: Scene) -> Iterator[None]:
    with hurry(scene, Client.chat, 6, "free"):
        yield


@contextmanager
def fail_requests(scene: Scene) -> Iterator[None]:
    scene.upstream.status = 500
    with hurry(scene, lambda client: client.chat("distant"), 2):
        yield
    scene.upstream.status = 200


@contextmanager
def idle_within(scene: Scene) -> Iterator[None]:
    with hurry(scene, lambda client: client.chat("distant", idle="0.8"), 30):
        yield


@contextmanager
def crash_an_engine(scene: Scene) -> Iterator[None]:
    crashes = itertools.count()  # the same body would be refused the third time

    def crash(client: Client) -> None:
        client.chat(text=f"crash {next(crashes)}", echo={"fail": "exit"})

    with hurry(scene, crash, 1):
        yield


@contextmanager
def load_what_is_broken(scene: Scene) -> Iterator[None]:
    with hurry(scene, lambda client: client.chat("broken"), 1):
        yield


@contextmanager
def crowd_an_engine(scene: Scene) -> Iterator[None]:
    with hurry(scene, lambda client: client.chat("cold", echo={"delay": 3}), 14):
        yield


@contextmanager
def lose_a_record(scene: Scene) -> Iterator[None]:
    journal = next(Path(journal_folder(str(scene.gateway.state))).glob("*-w*.jsonl"))
    with open(journal, "ab") as file:
        file.write(b"what a failing disk left\n")
    yield


@contextmanager
def lock_the_store(scene: Scene) -> Iterator[None]:
    def make_key(client: Client) -> None:
        client.post("/admin/keys", {"consumer": "acme", "tier": "open"})

    with contextlib.closing(open_store(scene)) as store:
        store.execute("BEGIN IMMEDIATE")
        with hurry(scene, Client.chat, 6, "free"), hurry(scene, make_key, 4, "admin"):
            yield


@contextmanager
def fill_the_store(scene: Scene) -> Iterator[None]:
    """By somebody else's table. Control measures now and then."""
    with contextlib.closing(open_store(scene)) as store:
        store.execute("CREATE TABLE ballast (piece BLOB)")
        (page,) = store.execute("PRAGMA page_size").fetchone()
        while store.execute("PRAGMA page_count").fetchone()[0] * page < 0.95 * STORE:
            with store:
                store.execute("INSERT INTO ballast VALUES (zeroblob(500000))")
    yield


def open_store(scene: Scene) -> sqlite3.Connection:
    return sqlite3.connect(store_file(str(scene.gateway.state)), timeout=20)


@contextmanager
def fill_the_disk(scene: Scene) -> Iterator[None]:
    ballast = scene.gateway.state / "ballast"
    disk = os.statvfs(scene.gateway.state)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, (disk.f_bavail - disk.f_blocks // 20) * disk.f_frsize)
    yield
    ballast.unlink()


@contextmanager
def kill_control(scene: Scene) -> Iterator[None]:
    with repeating(lambda: kill([scene.gateway.status()["control"]["pid"]])):
        yield


@contextmanager
def kill_workers(scene: Scene) -> Iterator[None]:
    with repeating(lambda: kill(scene.gateway.workers())):
        yield


def kill(pids: Sequence[int | None]) -> None:
    for pid in filter(None, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@contextmanager
def lose_the_issuer(scene: Scene) -> Iterator[None]:
    """Each new worker asks for its keys, at first again and again."""
    scene.issuer.status = 500
    with repeating(scene.gateway.reload, pause=2):
        yield


@contextmanager
def refuse_telemetry(scene: Scene) -> Iterator[None]:
    scene.collector.status = 400
    yield


@contextmanager
def lose_redis_and_upstream(scene: Scene) -> Iterator[None]:
    scene.redis.kill()
    scene.upstream.stop()
    yield


@contextmanager
def refuse_a_reload(scene: Scene) -> Iterator[None]:
    scene.gateway.file.write_text("routes: nonsense")
    with pytest.raises(Refused):
        scene.gateway.reload()
    yield


@contextmanager
def kill_the_gateway(scene: Scene) -> Iterator[None]:
    scene.gateway.kill()
    yield
    eventually(lambda: not scene.gateway.survivors(), 30.0, "no survivors")


FAULTS: dict[Fault, set[str]] = {
    renew_no_certificate: {"CertificateExpires", "CertificateEnds"},
    use_a_month: {"MonthNearlyUsed"},
    refuse_many: {"Rejections"},
    fail_requests: {"ErrorRate", "ErrorBudgetFast", "ErrorBudgetSlow"},
    idle_within: {"ProxySlow"},
    crash_an_engine: {"EngineCrashLoop"},
    load_what_is_broken: {"EngineFailed"},
    crowd_an_engine: {"QueueSaturated"},
    lose_a_record: {"TracesDropped"},
    fill_the_disk: {"DiskNearlyFull"},
    lock_the_store: {"DatabaseDown", "TraceLag", "AdminSlow", "JournalsNearlyFull"},
    fill_the_store: {"StoreNearlyFull"},
    kill_control: {"ControlRestarts"},
    lose_the_issuer: {"JwksStale"},
    kill_workers: {"WorkerRestarts"},
    refuse_telemetry: {"TelemetryDropped"},
    lose_redis_and_upstream: {"RedisDown", "LedgerDegraded", "UpstreamUnavailable", "EndpointDown"},
    refuse_a_reload: {"ReloadFailed"},
    kill_the_gateway: {"Down"},
}


def test_each_alert_fires_of_its_fault_and_health_is_silent(tmp_path: Path) -> None:
    assert set().union(*FAULTS.values()) == {alert.name.removeprefix("Tollkeeper") for alert in ALERTS}
    with small_disk(tmp_path / "var") as is_mounted, watched_gateway(tmp_path, SCALE) as scene:
        stay_healthy(scene)
        for fault, short in FAULTS.items():
            if fault is fill_the_disk and not is_mounted:  # it is everybody's
                continue
            names = {f"Tollkeeper{name}" for name in short}
            eventually(lambda names=names: not names & scene.prometheus.firing(), 90.0, f"{names} do not fire yet")
            began = time.monotonic()
            with fault(scene):
                scene.prometheus.await_firing(*names)
            print(f"{time.monotonic() - began:5.1f} s  {fault.__name__}: {', '.join(sorted(names))}")


def stay_healthy(scene: Scene) -> None:
    """Nothing fires for so long on end. A machine that stood still for a moment is given another try."""
    eventually(lambda: not scene.prometheus.alerts(), 20.0, "nothing is left of the start")
    since = began = time.monotonic()
    while time.monotonic() - since < HEALTH:
        if firing := scene.prometheus.firing():
            assert firing <= STALLS and time.monotonic() - began < 5 * HEALTH, firing
            since = time.monotonic()
        time.sleep(0.25)


@contextmanager
def hurry(scene: Scene, ask: Ask, count: int, tier: str = "open") -> Iterator[None]:
    """So many clients that ask again at once; `admin` asks at the other door."""
    gateway = scene.gateway
    where = (gateway.admin_url, gateway.admin_key) if tier == "admin" else (gateway.url, gateway.key(tier))
    with traffic(*where, ask, pause=0, clients=count):
        yield

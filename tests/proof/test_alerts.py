"""Every alert is fired by a real fault: a real Prometheus, at 1/60 of the true time, scrapes a real gateway.

What is healthy is silent first. Then one fault after the other is made, in a gateway that goes on with those before.
"""

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.cli.session import Refused
from gateway.monitoring.alerts import ALERTS
from gateway.settings.state import journal_folder, store_file
from tests.harness import eventually
from tests.monitoring.prometheus import needs_prometheus
from tests.monitoring.scene import Scene, watched_gateway, write_certificate
from tests.monitoring.scenery import Client, traffic

pytestmark = [pytest.mark.proof, needs_prometheus]

HEALTH = 40.0  # seconds, which are as many minutes
Ask = Callable[[Client], object]


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """256 MB at `folder`; false where we may not mount one."""
    folder.mkdir(mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=256m,mode=0700", "tmpfs", str(folder)]
    is_mounted = subprocess.run(command, capture_output=True).returncode == 0
    try:
        yield is_mounted
    finally:
        if is_mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_each_alert_fires_of_its_fault_and_health_is_silent(tmp_path: Path) -> None:
    fired: set[str] = set()
    with small_disk(tmp_path / "var") as is_mounted, watched_gateway(tmp_path) as scene:
        stay_healthy(scene)
        for fault in (
            renew_no_certificate, use_a_month, refuse_many, idle_within, crash_an_engine, load_what_is_broken,
            crowd_an_engine, lose_a_record, fill_the_disk, lock_the_store, fill_the_store, kill_control,
            kill_workers_without_issuer, lose_redis, fail_requests, lose_the_upstream, refuse_a_reload,
            kill_the_gateway,
        ):  # fmt: skip
            if fault is fill_the_disk and not is_mounted:  # it is everybody's
                continue
            began = time.monotonic()
            names = fault(scene)
            print(f"{time.monotonic() - began:5.1f} s  {fault.__name__}: {', '.join(sorted(names))}")
            fired |= names
    assert fired == {alert.name for alert in ALERTS if is_mounted or alert.name != "TollkeeperDiskNearlyFull"}


def stay_healthy(scene: Scene) -> None:
    eventually(lambda: not scene.prometheus.alerts(), 20.0, "nothing is left of the start")
    end = time.monotonic() + HEALTH
    while time.monotonic() < end:
        assert not scene.prometheus.firing()
        time.sleep(0.25)


def renew_no_certificate(scene: Scene) -> set[str]:
    write_certificate(scene.certificate.parent, timedelta(days=1))
    return fires(scene, "TollkeeperCertificateExpires", "TollkeeperCertificateEnds")


def use_a_month(scene: Scene) -> set[str]:
    with scene.client("pro") as client:
        while client.chat("dear") == 200:
            pass
    return fires(scene, "TollkeeperMonthNearlyUsed")


def refuse_many(scene: Scene) -> set[str]:
    with hurry(scene, Client.chat, 3, "free"):
        return fires(scene, "TollkeeperRejections")


def idle_within(scene: Scene) -> set[str]:
    with hurry(scene, lambda client: client.chat("distant", idle="0.8"), 30):
        return fires(scene, "TollkeeperProxySlow")


def crash_an_engine(scene: Scene) -> set[str]:
    crashes = iter(range(1_000_000))  # the same body would be refused the third time

    def crash(client: Client) -> None:
        client.chat(text=f"crash {next(crashes)}", echo={"fail": "exit"})

    with hurry(scene, crash, 1):
        return fires(scene, "TollkeeperEngineCrashLoop")


def load_what_is_broken(scene: Scene) -> set[str]:
    with hurry(scene, lambda client: client.chat("broken"), 1):
        return fires(scene, "TollkeeperEngineFailed")


def crowd_an_engine(scene: Scene) -> set[str]:
    with hurry(scene, lambda client: client.chat("cold", echo={"delay": 3}), 14):
        return fires(scene, "TollkeeperQueueSaturated")


def lose_a_record(scene: Scene) -> set[str]:
    journal = next(Path(journal_folder(str(scene.gateway.state))).glob("*-w*.jsonl"))
    with open(journal, "ab") as file:
        file.write(b"what a failing disk left\n")
    return fires(scene, "TollkeeperTracesDropped")


def lock_the_store(scene: Scene) -> set[str]:
    with contextlib.closing(sqlite3.connect(store_file(str(scene.gateway.state)), timeout=20)) as store:
        store.execute("BEGIN IMMEDIATE")

        def make_key(client: Client) -> None:
            client.post("/admin/keys", {"consumer": "acme", "tier": "open"})

        with hurry(scene, Client.chat, 4, "free"), hurry(scene, make_key, 4, "admin"):
            return fires(
                scene, "TollkeeperDatabaseDown", "TollkeeperTraceLag", "TollkeeperAdminSlow",
                "TollkeeperJournalsNearlyFull",
            )  # fmt: skip


def fill_the_store(scene: Scene) -> set[str]:
    """By somebody else's table."""
    with contextlib.closing(sqlite3.connect(store_file(str(scene.gateway.state)), timeout=20)) as store:
        store.execute("CREATE TABLE ballast (piece BLOB)")
        while not scene.prometheus.query("tollkeeper_store_bytes > 0.92 * tollkeeper_store_limit_bytes"):
            with store:
                store.execute("INSERT INTO ballast VALUES (zeroblob(2000000))")
            time.sleep(0.1)
    return fires(scene, "TollkeeperStoreNearlyFull")


def fill_the_disk(scene: Scene) -> set[str]:
    ballast = scene.gateway.state / "ballast"
    free = os.statvfs(scene.gateway.state)
    with open(ballast, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - free.f_blocks * free.f_frsize // 20)
    try:
        return fires(scene, "TollkeeperDiskNearlyFull")
    finally:
        ballast.unlink()


def kill_workers_without_issuer(scene: Scene) -> set[str]:
    scene.issuer.status = 500
    for _ in range(4):
        (worker,) = scene.gateway.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda old=worker: scene.gateway.workers() not in ([], [old]), 30.0, "another worker")
    return fires(scene, "TollkeeperWorkerRestarts", "TollkeeperJwksStale")


def kill_control(scene: Scene) -> set[str]:
    for _ in range(4):
        control = scene.gateway.control_pid()
        os.kill(control, signal.SIGKILL)
        eventually(lambda old=control: scene.gateway.status()["control"]["pid"] not in (None, old), 30.0, "control")
    return fires(scene, "TollkeeperControlRestarts")


def lose_redis(scene: Scene) -> set[str]:
    scene.redis.kill()
    return fires(scene, "TollkeeperRedisDown", "TollkeeperLedgerDegraded")


def fail_requests(scene: Scene) -> set[str]:
    scene.upstream.status = 500
    with hurry(scene, lambda client: client.chat("distant"), 2):
        return fires(scene, "TollkeeperErrorRate", "TollkeeperErrorBudgetFast", "TollkeeperErrorBudgetSlow")


def lose_the_upstream(scene: Scene) -> set[str]:
    scene.upstream.stop()
    return fires(scene, "TollkeeperUpstreamUnavailable", "TollkeeperEndpointDown")


def refuse_a_reload(scene: Scene) -> set[str]:
    scene.gateway.file.write_text("routes: nonsense")
    with pytest.raises(Refused):
        scene.gateway.reload()
    return fires(scene, "TollkeeperReloadFailed")


def kill_the_gateway(scene: Scene) -> set[str]:
    scene.gateway.kill()
    return fires(scene, "TollkeeperDown")


def fires(scene: Scene, *names: str) -> set[str]:
    """Waits until they do."""
    scene.prometheus.await_firing(*names)
    return set(names)


@contextlib.contextmanager
def hurry(scene: Scene, ask: Ask, count: int, tier: str = "open") -> Iterator[None]:
    """So many clients that ask again at once; `admin` asks at the other door."""
    gateway = scene.gateway
    where = (gateway.admin_url, gateway.admin_key) if tier == "admin" else (gateway.url, gateway.key(tier))
    with traffic(*where, ask, pause=0, clients=count):
        yield

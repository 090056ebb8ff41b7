"""An engine as a real process that starts, serves, breaks and ends."""

import asyncio
import hashlib
import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from gateway.backend import Launch
from gateway.engines import probe, process, states
from gateway.engines.listener import pick_port
from gateway.engines.process import Engine
from gateway.engines.states import State
from gateway.errors import GatewayError
from gateway.model_file import Trust
from tests.gateway.engines.conftest import FakeBackend, descendants, eventually, is_alive, make_backend

Start = Callable[..., Engine]


async def test_becomes_ready_and_stops(start: Start) -> None:
    engine = start()
    run = await engine.ensure_ready(5)
    assert engine.condition.state is State.READY
    assert psutil.pid_exists(run.pid)
    await engine.stop()
    assert engine.condition.state is State.STOPPED
    assert not psutil.pid_exists(run.pid)
    assert run.over.result() == "was ended by SIGTERM"


async def test_one_start_for_many_requests(start: Start) -> None:
    engine = start("--start-delay=0.3")
    runs = await asyncio.gather(*(engine.ensure_ready(5) for _ in range(500)))
    assert {run.load for run in runs} == {"fake-1"}


async def test_waits_no_longer_than_asked(start: Start) -> None:
    engine = start("--start-delay=5")
    with pytest.raises(GatewayError) as caught:
        await engine.ensure_ready(0.1)
    assert caught.value.number == 1808


async def test_f18_a_crash_while_idle_is_noticed_and_mended(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """In 100 ms, and ready again a second after its own start would be; five times that, as the machine is shared."""
    monkeypatch.setattr(states, "HEALTHY", 0.0)  # or the pauses would double
    engine = start("--start-delay=0.2")
    clock = asyncio.get_running_loop().time
    noticed, back = [], []
    for number in range(1, 6):
        run = await engine.ensure_ready(20)
        killed = clock()
        os.kill(run.pid, signal.SIGKILL)
        await eventually(lambda: not engine.condition.state.serves, 20)
        noticed.append(clock() - killed)
        assert engine.condition.reason == "was ended by SIGKILL"
        assert (await engine.ensure_ready(20)).load == f"fake-{number + 1}"
        back.append(clock() - killed - engine.load_seconds)
    assert min(noticed) < 5 * 0.1 and min(back) < 5 * 1, (noticed, back)
    assert engine.restarts == {"signal 9": 5}


async def test_f20_what_lacks_memory_is_not_started_again_and_again(start: Start) -> None:
    """Three times, with pauses between that double; then not before a minute has passed."""
    engine = start("--kill-itself")
    clock = asyncio.get_running_loop().time
    began = clock()
    await eventually(lambda: engine.condition.state is State.FAILED, 30)
    assert engine.restarts == {"signal 9": 3}
    assert clock() - began >= 0.75 * (0.5 + 1.0), "a pause, and one twice as long"
    assert engine.condition.reason == "was ended by SIGKILL"
    assert engine.condition.until is not None and engine.condition.until - clock() > 20


async def test_f26_what_ignores_sigterm_is_killed(start: Start) -> None:
    engine = start("--ignore-term", "--fork-child")
    run = await engine.ensure_ready(5)
    assert len(descendants()) == 3  # shim, engine, its child
    loop = asyncio.get_running_loop()
    asked = loop.time()
    await engine.stop()
    assert 0.5 <= loop.time() - asked < 0.5 + 5 * 0.5  # stop_timeout, and half a second on a quiet machine
    assert run.over.result() == "was ended by SIGKILL"
    assert not descendants()


async def test_children_of_a_dead_engine_die(start: Start) -> None:
    engine = start("--fork-child")
    run = await engine.ensure_ready(5)
    family = descendants()
    os.kill(run.pid, signal.SIGKILL)
    await eventually(lambda: not any(map(is_alive, family)))


async def test_fails_after_three_false_starts(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(states, "FIRST_PAUSE", 0.01)
    engine = start("--exit-at-once=3", "--say=no such model: \x1b[31mtiny\x1b[0m")
    with pytest.raises(GatewayError) as caught:
        await engine.ensure_ready(5)
    assert caught.value.number == 1708
    assert 50 < int(caught.value.headers["Retry-After"]) <= 60
    told = engine.describe()
    assert told["state"] == "failed"
    assert told["reason"] == "ended with exit code 3"
    assert told["last_words"] == ["no such model: tiny"]
    assert told["restarts"] == {"exit": 3}


class Tried(FakeBackend):
    """Listens, and is healthy, whether it has a model or not."""

    def launch(self, port: int) -> Launch:
        return Launch(super().launch(port).argv, ready="/try", trial='{"prompt": "a"}')


async def test_an_engine_is_tried_where_health_proves_no_model(start: Start) -> None:
    assert (await start(backend=Tried("good", make_backend().settings)).ensure_ready(5)).load == "good-1"


async def test_an_engine_that_refuses_its_trial_has_failed_to_start(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FIRST_PAUSE", 0.01)
    engine = start(backend=Tried("bad", make_backend("--no-model").settings))
    with pytest.raises(GatewayError) as caught:
        await engine.ensure_ready(10)
    assert caught.value.number == 1708
    assert engine.condition.reason.startswith("answered its first request with 404")
    assert engine.condition.false_starts == 3


async def test_command_that_does_not_exist(start: Start) -> None:
    class Missing(FakeBackend):
        def launch(self, port: int) -> Launch:
            return Launch(("/does/not/exist",))

    engine = start(backend=Missing("missing", make_backend().settings))
    await eventually(lambda: engine.condition.state is State.BACKOFF)
    assert engine.condition.reason == "could not be executed: /does/not/exist: No such file or directory"


async def test_s50_a_model_that_is_not_the_pinned_one_is_never_loaded(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(states, "FIRST_PAUSE", 0.01)
    model = tmp_path / "model"
    model.write_bytes(b"weights")

    class Loading(FakeBackend):
        def model_path(self) -> str:
            return str(model)

    engine = start(backend=Loading("fake", make_backend().settings))
    engine.trust = Trust((str(tmp_path),), hashlib.sha256(b"weights").hexdigest())
    run = await engine.ensure_ready(20)
    model.write_bytes(b"Weights")
    os.kill(run.pid, signal.SIGKILL)
    await eventually(lambda: engine.condition.state is State.FAILED, 20)
    assert engine.condition.reason.startswith(f"could not be started: the model {model} has the SHA-256 ")
    model.write_bytes(b"weights")
    engine.start()
    assert (await engine.ensure_ready(20)).load == "fake-5"


async def test_slow_start_is_ended(start: Start) -> None:
    backend = make_backend("--start-delay=60")
    backend.start_timeout = 0.2
    engine = start(backend=backend)
    await eventually(lambda: engine.condition.state is State.BACKOFF)
    assert engine.condition.reason == "was not ready after 0.2 s; was ended by SIGTERM"
    assert engine.restarts == {"slow": 1}


async def test_hanging_engine_is_killed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_PAUSE", 0.1)
    monkeypatch.setattr(probe, "_SUSPECT_PAUSE", 0.1)
    monkeypatch.setattr(probe, "_PATIENCE", 0.2)
    engine = start()
    run = await engine.ensure_ready(5)
    os.kill(run.pid, signal.SIGSTOP)
    await eventually(lambda: engine.condition.state is State.SUSPECT)
    assert await engine.ensure_ready(0) is run  # it may just be busy
    await eventually(run.over.done)
    assert run.over.result() == "was ended by SIGKILL"
    assert (await engine.ensure_ready(5)).load == "fake-2"
    assert engine.restarts == {"stuck": 1}


@pytest.mark.parametrize("crashes", [10, pytest.param(100, marks=pytest.mark.proof)])
async def test_f24_a_crash_loop_leaves_no_zombie_and_no_port(
    start: Start, monkeypatch: pytest.MonkeyPatch, crashes: int
) -> None:
    ports: list[int] = []

    def pick() -> int:
        ports.append(pick_port())
        return ports[-1]

    monkeypatch.setattr(process, "pick_port", pick)
    monkeypatch.setattr(states, "LONGEST_PAUSE", 0.0)
    monkeypatch.setattr(states, "FALSE_STARTS", 1000)
    engine = start("--exit-after=0.02", "--fork-child")
    await eventually(lambda: engine.restarts["exit"] >= crashes, 60)
    await eventually(lambda: sum(map(is_zombie, descendants())) <= 1)  # the one that ended just now
    await engine.stop()
    assert not descendants()
    assert len(ports) >= crashes
    await eventually(lambda: not any(map(is_taken, ports)))  # another program may have one of them for a moment


def is_zombie(child: psutil.Process) -> bool:
    try:
        return child.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:  # it has ended and is reaped since it was listed
        return False


def is_taken(port: int) -> bool:
    with socket.socket() as probing:
        return probing.connect_ex(("127.0.0.1", port)) == 0


async def test_f23_a_squatter_on_the_port_is_never_asked(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    squatter = socket.create_server(("127.0.0.1", 0))
    asked: list[bytes] = []
    threading.Thread(target=_listen, args=(squatter, asked), daemon=True).start()
    taken = squatter.getsockname()[1]
    ports = iter([taken])
    pick = process.pick_port
    monkeypatch.setattr(process, "pick_port", lambda: next(ports, None) or pick())
    engine = start("--start-delay=0.5")  # until then only the squatter answers
    await eventually(lambda: engine.condition.state is State.BACKOFF, 20)
    assert "was taken by another process" in engine.condition.reason
    run = await engine.ensure_ready(20)
    assert run.port != taken, "another port"
    squatter.close()
    assert not any(asked)


def _listen(squatter: socket.socket, asked: list[bytes]) -> None:
    try:
        while True:
            connection, _ = squatter.accept()
            with connection:
                asked.append(connection.recv(65536))
    except OSError:
        pass


async def test_s48_an_engine_on_every_address_is_refused(start: Start) -> None:
    engine = start("--address=0.0.0.0")
    await eventually(lambda: engine.condition.state is State.BACKOFF)
    assert "of every address" in engine.condition.reason


async def test_s46_s51_it_knows_only_what_is_allowed(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVIDER_KEY", "secret")
    secret, other = os.pipe()
    os.set_inheritable(secret, True)
    run = await start().ensure_ready(5)
    assert "PROVIDER_KEY" not in psutil.Process(run.pid).environ()
    links = {name: os.readlink(f"/proc/{run.pid}/fd/{name}") for name in os.listdir(f"/proc/{run.pid}/fd")}
    assert links.pop("0") == "/dev/null"
    assert links.pop("1") == links.pop("2")
    assert [target.partition(":")[0] for target in links.values()] == ["socket"]  # its listener
    limits = Path(f"/proc/{run.pid}/status").read_text()
    assert "Umask:\t0077" in limits
    assert "NoNewPrivs:\t1" in limits
    os.close(secret)
    os.close(other)


async def test_killed_shim_takes_the_engine_with_it(start: Start) -> None:
    engine = start("--ignore-term", "--fork-child")
    run = await engine.ensure_ready(5)
    family = descendants()
    psutil.Process(run.pid).parent().kill()
    await eventually(run.over.done)
    assert "shim was killed" in run.over.result()
    await eventually(lambda: not any(map(is_alive, family)))


def test_a_start_is_looked_at_often_enough() -> None:
    """Whoever waits for a load waits for the engine's own start and 100 ms at most, however long it takes."""
    assert all(probe._pause(State.STARTING, age) < 0.09 for age in (0, 1, 10, 600))

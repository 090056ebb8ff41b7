"""How long a client waits for a model that takes the place of another: what the engines take, and little more."""

import shlex
import statistics
import sys
import time
from pathlib import Path

import pytest

from tests.harness import Gateway, config, eventually, running_gateway
from tests.load import Client, chat
from tests.process import diary_engine

MODELS = ("one", "two")
RESIDENCY = 0.05  # seconds


class Diary:
    """What an engine wrote down of each of its runs: seconds of the wall clock."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.txt"
        self.command = (
            f"echo began $(date +%s%N) >> {self.path};"
            f"exec {sys.executable} {diary_engine.__file__} {{port}} {self.path}"
        )

    def last(self, what: str) -> float:
        times = [line.split()[1] for line in self.path.read_text().splitlines() if line.startswith(what)]
        return int(times[-1]) / 1e9 if times else 0.0


async def swap(gateway: Gateway, model: str, old: Diary, new: Diary) -> tuple[float, float]:
    """Seconds until the first token of `model`, and those of them that were not the engines' own."""
    asked = time.time_ns() / 1e9
    client = Client(gateway.address, gateway.key("open"), fresh=True)
    async for _ in client.stream({**chat(stream=True), "model": model}):
        break
    waited = time.time_ns() / 1e9 - asked
    client.close()
    assert asked < old.last("asked") <= old.last("over") < new.last("began") < new.last("ready")
    own = old.last("over") - old.last("asked") + new.last("ready") - new.last("began")
    return waited, waited - own


async def measure(folder: Path, count: int) -> list[tuple[float, float]]:
    diaries = {name: Diary(folder, name) for name in MODELS}
    backends = {
        name: {
            "command": {"run": f"sh -c {shlex.quote(diary.command)}", "health": "/"},
            "memory": "1GB", "residency": f"{RESIDENCY * 1000:.0f}ms", "slots": 1,
        }
        for name, diary in diaries.items()
    }  # fmt: skip
    document = config(
        memory="1500MB", tiers={"open": {"may_evict": True}}, backends=backends,
        models={name: {"backend": name} for name in MODELS}, routes=[{"path": "/v1/chat/completions"}],
    )  # fmt: skip
    taken = []
    with running_gateway(document, workers=1) as gateway:
        client = Client(gateway.address, gateway.key("open"), fresh=True)
        assert (await client.ask({**chat(), "model": "two"})).status == 200
        for number in range(count):
            new, old = MODELS[number % 2], MODELS[number % 2 - 1]
            eventually(lambda old=old: gateway.status()["engines"][old]["in_use"] == 0, 20)
            time.sleep(RESIDENCY)  # else the rest of it is waited for, too
            taken.append(await swap(gateway, new, diaries[old], diaries[new]))
    return taken


def tell(taken: list[tuple[float, float]]) -> float:
    """What the gateway adds, the median."""
    waited, added = (statistics.median(column) for column in zip(*taken, strict=True))
    print(f"{len(taken)} swaps: a token after {waited * 1e3:.0f} ms, {added * 1e3:.0f} more than the engines took")
    return added


async def test_a_swap_takes_little_more_than_the_engines_do(tmp_path: Path) -> None:
    """The best of a few, within what a busy machine keeps; below is the figure for one at rest."""
    taken = await measure(tmp_path, 4)
    tell(taken)
    assert min(added for _, added in taken) < 1.5


@pytest.mark.proof
async def test_a_swap_adds_a_tenth_of_a_second_at_the_most(tmp_path: Path) -> None:
    assert tell(await measure(tmp_path, 15)) <= 0.1

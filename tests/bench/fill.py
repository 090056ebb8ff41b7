"""Very many traces in a store, as ingest would have written them.

    python -m tests.bench.fill --rows 1000000 --database PLACE

PLACE is a file of SQLite or the URL of a PostgreSQL; either is made, or upgraded, first. The traces lie in the days
before `--end`, evenly but for the nights, and are the same for the same `--seed`. Some hold contents and feedback.
"""

import argparse
import math
import random
import time
from collections.abc import Iterator

from sqlalchemy import insert

from gateway.control.batch import Batch
from gateway.control.rows import write_batch
from gateway.control.store import Store, open_store, upgrade_store
from gateway.control.tables import feedback
from gateway.journal import Closed, Opened

_DAY = 86_400_000_000  # microseconds
_AT_ONCE = 10_000  # rows in a transaction
_MODELS = {  # USD per million tokens; tokens a second
    "qwen2.5-7b": ("0.10/0.30/0.02", "llama_cpp", 60), "llama-3.1-70b": ("0.80/1.20/0.10", "vllm", 25),
    "gpt-4o-mini": ("0.15/0.60/0.075", "openai_compatible", 110), "bge-m3": ("0.01/0/0", "llama_cpp", 900),
}  # fmt: skip
_TIERS = ("free", "pro", "enterprise")
_FAILURES = (
    ("refused", 429, 1501), ("refused", 401, 1002), ("upstream_failed", 502, 1703), ("left", 499, 0),
    ("turned_away", 503, 1704), ("broken", 200, 1707), ("upstream_rejected", 400, 0), ("worker_lost", 0, 1903),
)  # fmt: skip
_WORDS = ("the", "model", "answers", "a", "question", "about", "rivers", "cities", "prices", "weather", "tests", "code")


class Traces:
    """Makes requests of `consumers` consumers in `projects` projects, `days` days up to `end` (unix microseconds)."""

    def __init__(self, rows: int, days: float, end: int, consumers: int, projects: int, seed: int) -> None:
        self._dice = random.Random(seed)
        self._rows, self._end, self._span = rows, end, days * _DAY
        self._consumers, self._projects = consumers, projects

    def __iter__(self) -> Iterator[Closed]:
        begin = self._end - self._span
        for number in range(self._rows):
            share = number / self._rows
            night = 0.02 * math.sin(2 * math.pi * share * self._span / _DAY) * _DAY
            yield self._make(int(min(begin + share * self._span + max(night, 0), self._end)))

    def _make(self, started: int) -> Closed:
        dice = self._dice
        consumer = min(int(dice.paretovariate(0.7)), self._consumers)
        name, (price, kind, speed) = dice.choice([*_MODELS.items()])
        embeds = name == "bge-m3"
        month = time.strftime("%Y-%m", time.gmtime(started // 1_000_000))
        tokens_in = int(dice.lognormvariate(5.5, 1.0))
        opened = Opened(
            f"{started // 1000:012x}{dice.getrandbits(80):020x}", started, "POST",
            "/v1/embeddings" if embeds else "/v1/chat/completions", f"10.0.{consumer % 250}.{number_of(dice, 250)}",
            f"req-{dice.getrandbits(40):010x}", 1 + started // _DAY % 3,
            route="/v1/embeddings" if embeds else "/v1/chat/completions", consumer=f"consumer-{consumer:04d}",
            tier=_TIERS[consumer % 3], project=f"project-{consumer % self._projects}",
            credential=f"key-{consumer:04d}-{number_of(dice, 3)}", model_asked=name, model=name, backend=f"on-{kind}",
            endpoint=f"http://127.0.0.1:{9000 + number_of(dice, 4)}", load=f"{kind}-{started // _DAY % 97}",
            stream=not embeds and dice.random() < 0.6, quota_key=f"month:consumer-{consumer:04d}", period=month,
            reserved=1000, prompt_estimate=tokens_in, role="user", price=price,
            operation="embeddings" if embeds else "chat", provider=kind,
            session=f"s-{consumer}-{number_of(dice, 40)}" if dice.random() < 0.5 else "",
            user=f"user-{number_of(dice, 500)}" if dice.random() < 0.4 else "",
            tags=dice.choice(("", "", "batch", "batch,nightly", "chat,web", "test")),
            trace=f"{dice.getrandbits(128):032x}", span=f"{dice.getrandbits(64):016x}",
        )  # fmt: skip
        return self._close(opened, 0 if embeds else int(dice.lognormvariate(4.5, 1.0)), speed)

    def _close(self, opened: Opened, tokens_out: int, speed: int) -> Closed:
        dice = self._dice
        if dice.random() < 0.04:
            outcome, status, error = dice.choice(_FAILURES)
            total = int(dice.expovariate(1 / 50_000))
            rule = "requests" if status == 429 else ""
            return Closed(opened, opened.started + total, status, outcome, error, rule=rule, total_us=total)
        queue = int(dice.expovariate(1 / 8_000)) if dice.random() < 0.3 else 0
        load = 4_000_000 if dice.random() < 0.001 else 0
        first = queue + load + int(dice.lognormvariate(11.5, 0.6))
        decode = int(tokens_out / speed * 1e6 * dice.uniform(0.8, 1.3))
        input, output, cached = (float(part) for part in opened.price.split("/"))
        reused = opened.prompt_estimate // 2 if dice.random() < 0.2 else 0
        cost = (opened.prompt_estimate - reused) * input + reused * cached + tokens_out * output
        return Closed(
            opened, opened.started + first + decode, 200, "complete", units=1000, tokens_in=opened.prompt_estimate,
            tokens_out=tokens_out, tokens_cached=reused, tokens_source=dice.choice(("counted", "counted", "estimated")),
            upstream_status=200, retries=int(dice.random() < 0.01), bytes_in=4 * opened.prompt_estimate + 180,
            bytes_out=5 * tokens_out + 250, queue_us=queue, load_us=load, connect_us=int(dice.random() < 0.1) * 800,
            first_token_us=first, decode_us=decode, overhead_us=int(dice.lognormvariate(6.0, 0.4)),
            total_us=first + decode, cost_nano=int(cost * 1000), cache=dice.choice(("", "", "", "hit", "miss")),
            finish=dice.choice(("stop", "stop", "stop", "length", "tool_calls")) if tokens_out else "",
        )  # fmt: skip


def number_of(dice: random.Random, bound: int) -> int:
    return int(dice.random() * bound)


def fill(store: Store, traces: Traces, share: float = 0.02) -> int:
    """Write them; `share` of them with contents, and half of those with feedback. How many were written."""
    dice = random.Random(7)
    count, pending = 0, []
    for closed in traces:
        pending.append(closed)
        if len(pending) == _AT_ONCE:
            count += _write(store, pending, share, dice)
            pending = []
    return count + _write(store, pending, share, dice)


def _write(store: Store, finished: list[Closed], share: float, dice: random.Random) -> int:
    said = [closed.opened for closed in finished if closed.opened.operation == "chat" and dice.random() < share]
    batch = Batch(finished=finished, contents=[(opened.id, _say(dice, 30), _say(dice, 60)) for opened in said])
    opinions = [
        {"id": f"{opened.id[:12]}{dice.getrandbits(80):020x}", "request": opened.id, "consumer": opened.consumer,
         "score": dice.choice((0.0, 0.25, 0.5, 0.75, 1.0, 1.0)), "label": dice.choice(("", "good", "wrong")),
         "comment": "", "created": opened.started + 60_000_000}
        for opened in said[::2]
    ]  # fmt: skip
    with store.writing.begin() as connection:
        write_batch(connection, batch, "fill")
        if opinions:
            connection.execute(insert(feedback), opinions)
    return len(finished)


def _say(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fill", description=__doc__)
    parser.add_argument("--database", required=True, metavar="PLACE")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--consumers", type=int, default=500)
    parser.add_argument("--projects", type=int, default=12)
    parser.add_argument("--end", type=float, default=None, help="unix seconds [now]")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    end = int((given.end or time.time_ns() / 1e9) * 1e6)
    upgrade_store(given.database)
    store = open_store(given.database)
    begin = time.monotonic()
    traces = Traces(given.rows, given.days, end, given.consumers, given.projects, given.seed)
    count = fill(store, traces)
    store.close()
    print(f"{count:,} traces in {time.monotonic() - begin:.1f} s")


if __name__ == "__main__":
    main()

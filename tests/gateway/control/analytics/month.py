"""Requests for analytics: made up, different in all that matters, the same for the same seed."""

import random
from typing import Any

from gateway.control.batch import Batch
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.exchange import Outcome
from gateway.journal import Closed
from tests.gateway.control.records import NOON, closed, opened

DAY = 86_400_000_000
_OUTCOMES = ["complete"] * 6 + [outcome.value for outcome in Outcome]


def make_requests(count: int, seed: int = 1, days: int = 3, prefix: str = "r") -> list[Closed]:
    chance = random.Random(seed)
    return [_make(f"{prefix}{number}", chance, NOON - chance.randrange(days * DAY)) for number in range(count)]


def _make(id: str, chance: random.Random, started: int) -> Closed:
    total = chance.randrange(1_000, 10_000_000)
    request = opened(
        id, consumer=f"c{chance.randrange(4)}", project=chance.choice(("search", "chat")), tier="pro",
        route="/v1/*", operation=chance.choice(("chat", "embeddings", "")), model=chance.choice(("qwen", "llama")),
        provider="llama_cpp", stream=chance.random() < 0.5,
    )  # fmt: skip
    request.started = started
    outcome = chance.choice(_OUTCOMES)
    return closed(
        request, outcome=outcome, error=0 if outcome == "complete" else chance.choice((0, 1001, 1501, 1702)),
        units=chance.randrange(5_000), tokens_in=chance.randrange(1000), tokens_out=chance.randrange(1000),
        tokens_cached=chance.randrange(10), cost_nano=chance.choice((None, chance.randrange(10**9))),
        finish=chance.choice(("stop", "length", "tool_calls", "eh", "")), cache=chance.choice(("hit", "miss", "")),
        retries=chance.randrange(2), queue_us=chance.randrange(1000), first_token_us=chance.randrange(total),
        total_us=total,
    )  # fmt: skip


def write(store: Store, requests: list[Closed], batch: int = 100, **fields: Any) -> None:
    """Store them as ingest does, in batches."""
    for start in range(0, len(requests), batch):
        with store.writing.begin() as connection:
            write_batch(connection, Batch(finished=requests[start : start + batch], **fields), "w1")

"""Requests that differ in all that can be asked for; the same for the same seed."""

import random

from gateway.control.batch import Batch
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.journal import Closed
from tests.gateway.control.records import NOON, closed, opened

SECOND = 1_000_000
FEW = ("", "a", "b", "it's", "50%_off", "Ünï")  # among it what SQL might misread


def make_rows(count: int, seed: int = 1) -> list[Closed]:
    """One a second up to noon; every tenth at the same moment as the one before."""
    return [_make(number, random.Random(seed * 1_000_003 + number)) for number in range(count)]


def _make(number: int, dice: random.Random) -> Closed:
    started = NOON - (number - (number % 10 == 9)) * SECOND
    id = f"{started // 1000:012x}{dice.getrandbits(80):020x}"
    parent = dice.choice(("", "c" * 16))
    request = opened(
        id, consumer=dice.choice(("c1", "c2", "c3")), project=dice.choice(("", "p1", "p2")), session=dice.choice(FEW),
        user=dice.choice(FEW), model=dice.choice(("qwen", "llama")), provider=dice.choice(("llama_cpp", "vllm")),
        tags=dice.choice(("", "a", "a,b", "ab,b")), operation=dice.choice(("chat", "embeddings", "")),
        stream=dice.random() < 0.5, trace="f" * 32 if parent else id, span=id[-16:], parent=parent,
        price=dice.choice(("", "1/2/0.5")),
    )  # fmt: skip
    request.started = started
    return closed(
        request, outcome=dice.choice(("complete", "answered", "refused", "left")), error=dice.choice((0, 1501, 1702)),
        status=dice.choice((0, 200, 429)), total_us=dice.randrange(5) * 1000, first_token_us=dice.randrange(3) * 500,
        tokens_in=dice.randrange(4), tokens_out=dice.randrange(4),
        cost_nano=dice.randrange(4) * 10**8 if request.price else None,
    )  # fmt: skip


def store_rows(store: Store, rows: list[Closed], texts: dict[str, tuple[str, str]] | None = None) -> None:
    contents = [(id, *both) for id, both in (texts or {}).items()]
    with store.writing.begin() as connection:
        write_batch(connection, Batch(finished=rows, contents=contents), "w1")

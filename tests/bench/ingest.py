"""Row 10, the half that control does, alone: journals as a worker writes them, into a SQLite as it is deployed."""

import shutil
import time

from gateway.control.ingest import Ingest
from gateway.control.store import open_store
from gateway.heap import settle_heap
from gateway.journal import Closed, Journal, Opened
from gateway.relay.ids import Ids
from tests.bench.figure import Figure, Options
from tests.bench.place import WORK

_TIMES = 50_000
_AT_ONCE = 2_500  # requests between two looks, as at 5,000 a second
_FOLDER = WORK / "ingest"


def take_in(options: Options) -> list[Figure]:
    """The best of `rounds` runs: what disturbs one only ever adds."""
    best = min(_take_in() for _ in range(options.rounds))
    return [Figure(10, "ingest of a request into SQLite, alone", best, "us", target="<= 15 us")]


def _take_in() -> float:
    """CPU microseconds for each request: its two records, its row, the indexes, the roll-ups' queue."""
    shutil.rmtree(_FOLDER, ignore_errors=True)
    _FOLDER.mkdir(parents=True)
    store = open_store(str(_FOLDER / "store.sqlite"))
    ingest = Ingest(store, _FOLDER, lambda: time.time_ns() // 1000)
    journal = Journal(_FOLDER, "bench")
    ids, spent = Ids(), 0.0
    settle_heap()
    for _ in range(_TIMES // _AT_ONCE):
        for _ in range(_AT_ONCE):
            _write(journal, ids())
        begun = time.process_time()
        while ingest.step():
            pass
        spent += time.process_time() - begun
    journal.close()
    ingest.close()
    store.close()
    return spent / _TIMES * 1e6


def _write(journal: Journal, id: str) -> None:
    """What a request leaves, as row 1 sends them."""
    now = time.time_ns() // 1000
    opened = Opened(
        id, now, "POST", "/v1/chat/completions", "127.0.0.1", id, 1, route="/v1/chat/completions", consumer="bench",
        tier="bench", credential="bench", model_asked="m", model="m", backend="up", endpoint="http://127.0.0.1:9000",
        quota_key="month:bench", period="2026-11", reserved=1000, prompt_estimate=20, operation="chat", trace=id,
    )  # fmt: skip
    journal.write(opened)
    journal.write(
        Closed(
            opened, now + 900, 200, "complete", units=1000, tokens_in=9, tokens_out=12, tokens_source="counted",
            upstream_status=200, bytes_in=183, bytes_out=251, first_token_us=600, decode_us=10, overhead_us=200,
            total_us=900, finish="stop",
        )
    )  # fmt: skip

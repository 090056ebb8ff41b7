import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from gateway.control import ingest as module
from gateway.control.ingest import Ingest
from gateway.control.settlement import Settlement
from gateway.control.store import Store, open_store
from gateway.control.tables import open_requests, requests, writer_usage, writers
from gateway.journal import Closed, Journal, Opened, Progress, segment_path
from tests.gateway.control.records import NOON, closed, opened

W1, W2 = "0a1b2c3d-w1", "0a1b2c3d-w2"


@pytest.fixture
def store(any_store: Store) -> Store:
    return any_store


@pytest.fixture
def ingest(store: Store, journals: Path) -> Iterator[Ingest]:
    made = Ingest(store, journals, lambda: NOON)
    yield made
    made.close()


def take_all(ingest: Ingest) -> None:
    while ingest.step():
        pass


def rows(store: Store) -> dict[str, str]:
    with store.reading.connect() as connection:
        return {row.id: row.outcome for row in connection.execute(select(requests.c.id, requests.c.outcome))}


def count(store: Store, table: object) -> int:
    with store.reading.connect() as connection:
        return int(connection.scalar(select(func.count()).select_from(table)))  # type: ignore[call-overload]


def test_a_request_is_stored_as_it_was_written(store: Store, journals: Path, ingest: Ingest) -> None:
    journal = Journal(journals, W1)
    request = opened("1", model="qwen", stream=True)
    record = closed(request, first_token_us=900)
    journal.write(request)
    journal.write(record)
    take_all(ingest)
    with store.reading.connect() as connection:
        row = dict(connection.execute(select(requests)).mappings().one())
    expected = {**msgspec.structs.asdict(request), **msgspec.structs.asdict(record), "writer": W1}
    del expected["opened"], expected["charges"]
    assert row == expected
    journal.close()


def test_a_journal_is_followed_while_it_grows(store: Store, journals: Path, ingest: Ingest) -> None:
    journal = Journal(journals, W1)
    for number in range(5):
        journal.write(closed(opened(str(number))))
        take_all(ingest)
        assert len(rows(store)) == number + 1
    assert not ingest.step()
    journal.close()


def test_half_a_line_waits_for_its_other_half(store: Store, journals: Path, ingest: Ingest) -> None:
    line = msgspec.json.encode(closed(opened("1"))) + b"\n"
    journal = Journal(journals, W1)
    with segment_path(journals, W1, 0).open("ab", buffering=0) as file:
        file.write(line[:100])
        ingest.step()
        assert rows(store) == {}
        file.write(line[100:])
        ingest.step()
        assert rows(store) == {"1": "complete"}
    journal.close()


def test_seen_gets_what_is_stored(store: Store, journals: Path) -> None:
    seen: list[Closed] = []
    ingest = Ingest(store, journals, lambda: NOON, seen.extend)
    journal = Journal(journals, W1)
    journal.write(closed(opened("1")))
    journal.close()
    take_all(ingest)
    assert seen == [closed(opened("1"))]
    ingest.close()


def test_finished_segments_go_and_the_current_one_stays(store: Store, journals: Path, ingest: Ingest) -> None:
    journal = Journal(journals, W1, segment_bytes=1000)
    for number in range(20):
        journal.write(closed(opened(str(number))))
    assert len(list(journals.iterdir())) > 4
    take_all(ingest)
    assert len(rows(store)) == 20
    ingest.step()
    assert len(list(journals.iterdir())) == 1
    assert ingest.sealed() == []
    journal.close()


def test_segments_that_an_older_copy_of_the_store_does_not_know_are_passed(
    store: Store, journals: Path, ingest: Ingest
) -> None:
    journal = Journal(journals, W1, segment_bytes=1000)
    for number in range(20):
        journal.write(closed(opened(str(number))))
    journal.close()
    for segment in (0, 1, 2):
        segment_path(journals, W1, segment).unlink()
    take_all(ingest)
    assert 0 < len(rows(store)) < 20 and "19" in rows(store)
    assert ingest.sealed() == [W1]


def test_a_dead_writer_is_closed_sealed_settled_and_forgotten(store: Store, journals: Path, ingest: Ingest) -> None:
    settlement = Settlement(store, lambda: NOON)
    journal = Journal(journals, W1)
    journal.write(opened("1", reserved=500))
    journal.write(Progress("1", 40, 2))
    journal.write(closed(opened("2"), units=1000))
    journal.write(closed(opened("3", quota_key="month:other"), units=1))
    take_all(ingest)
    assert settlement.totals(W1) is None
    journal.close()
    take_all(ingest)
    assert rows(store) == {"1": "worker_lost", "2": "complete", "3": "complete"}
    assert count(store, open_requests) == 0
    assert ingest.sealed() == [W1]
    expected = {("month:acme", "2026-11", 1500), ("month:other", "2026-11", 1)}
    assert set(settlement.totals(W1) or ()) == expected
    assert segment_path(journals, W1, 0).exists()
    settlement.settle(W1)
    ingest.reload()
    take_all(ingest)
    assert list(journals.iterdir()) == []
    assert ingest.sealed() == []
    assert set(settlement.totals(W1) or ()) == expected  # still known, should the ledger ask again


def test_settled_figures_are_forgotten_when_their_months_are_long_over(
    store: Store, journals: Path, ingest: Ingest
) -> None:
    for writer in (W1, W2):
        journal = Journal(journals, writer)
        journal.write(closed(opened(writer)))
        journal.close()
    take_all(ingest)
    Settlement(store, lambda: NOON).settle(W1)
    Settlement(store, lambda: NOON + 68 * 86_400 * 1_000_000).settle(W2)
    with store.reading.connect() as connection:
        assert connection.scalars(select(writers.c.writer)).all() == [W2]
        assert connection.scalars(select(writer_usage.c.writer)).all() == [W2]


def test_a_writer_without_records_is_settled_with_nothing(store: Store, journals: Path, ingest: Ingest) -> None:
    Journal(journals, W1).close()
    take_all(ingest)
    assert Settlement(store, lambda: NOON).totals(W1) == ()
    assert Settlement(store, lambda: NOON).totals("a stranger") is None


def test_a_journal_with_gaps_is_stored_and_not_settled(store: Store, journals: Path, ingest: Ingest) -> None:
    journal = Journal(journals, W1)
    journal.write(closed(opened("1", model="\ud800")))  # cannot be encoded
    journal.write(closed(opened("2")))
    journal.close()
    take_all(ingest)
    assert rows(store) == {"2": "complete"}
    assert ingest.lost == 0, "the writer has counted it"
    assert ingest.sealed() == []
    assert Settlement(store, lambda: NOON).totals(W1) is None
    take_all(ingest)
    assert list(journals.iterdir()) == []


def test_garbage_longer_than_a_chunk_is_passed(
    store: Store, journals: Path, ingest: Ingest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK", 1000)
    line = msgspec.json.encode(closed(opened("1"))) + b"\n"
    segment_path(journals, W1, 0).write_bytes(b"x" * 2500 + b"\n" + line)
    take_all(ingest)
    assert rows(store) == {"1": "complete"}
    assert ingest.lost > 0


def test_the_torn_end_of_a_dead_writer_is_left_out(store: Store, journals: Path, ingest: Ingest) -> None:
    line = msgspec.json.encode(closed(opened("1"))) + b"\n"
    segment_path(journals, W1, 0).write_bytes(line + line[:50])
    take_all(ingest)
    assert rows(store) == {"1": "complete"}
    assert ingest.sealed() == [W1]


def usage(store: Store) -> set[tuple[str, str, str, int]]:
    with store.reading.connect() as connection:
        return {tuple(row) for row in connection.execute(select(writer_usage))}


Move = st.sampled_from(["write", "step", "restart", "roll"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=st.lists(Move, max_size=40), seed=st.integers())
def test_any_interleaving_stores_each_request_once(
    tmp_path_factory: pytest.TempPathFactory, model: Path, moves: list[str], seed: int
) -> None:
    """Two writers write, segments roll, and the reader starts again with nothing in memory, in any order."""
    dice = random.Random(seed)
    directory = tmp_path_factory.mktemp("any")
    store = open_store(str(shutil.copy(model, directory)))
    ingest = Ingest(store, directory, lambda: NOON)
    writing = {writer: Journal(directory, writer, segment_bytes=2000) for writer in (W1, W2)}
    alive: dict[str, Opened] = {}
    expected: dict[str, str] = {}
    for number, move in enumerate(moves):
        writer = dice.choice((W1, W2))
        if move == "write":
            request = opened(f"{writer}-{number}", reserved=1)
            writing[writer].write(request)
            if dice.random() < 0.7:
                writing[writer].write(closed(request))
            else:
                alive[request.id] = request
            expected[request.id] = "worker_lost" if request.id in alive else "complete"
        elif move == "roll":
            writing[writer]._roll()
        elif move == "restart":
            ingest.close()
            ingest = Ingest(store, directory, lambda: NOON)
        else:
            ingest.step()
    for journal in writing.values():
        journal.close()
    take_all(ingest)
    assert rows(store) == expected
    assert sum(units for *_, units in usage(store)) == len(expected)
    assert count(store, open_requests) == 0
    assert sorted(ingest.sealed()) == [W1, W2]
    ingest.close()
    store.reading.dispose()

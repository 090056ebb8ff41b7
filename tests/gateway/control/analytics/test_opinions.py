"""Feedback counts the same before and after it is looked up, and as soon as its request is stored."""

from pathlib import Path
from typing import Any

from sqlalchemy import func, insert, select

from gateway.control.analytics.measures import DIMENSIONS
from gateway.control.analytics.opinions import keep_abouts
from gateway.control.analytics.question import Question, read_opinions
from gateway.control.analytics.window import plan_window
from gateway.control.api.scope import Scope
from gateway.control.store import Store, open_store
from gateway.control.tables import feedback, requests
from tests.gateway.control.analytics.month import DAY, make_requests, write
from tests.gateway.control.records import NOON, opinion

MADE = make_requests(60, days=4)
MONTH = plan_window(NOON - 30 * DAY, NOON, None, NOON)
EVERYTHING = Scope(everything=True)
QUESTIONS = [
    Question(scope=EVERYTHING, is_whole=True),
    Question(scope=EVERYTHING, by=("consumer", "model"), bucket="day"),
    Question(scope=EVERYTHING, by=("model",), only={"consumer": "c1"}),
    Question(scope=Scope(project="chat"), by=("consumer",)),
    Question(scope=Scope(consumer="c2"), by=("project",)),
]


def say(store: Store, ids: list[str]) -> None:
    rows = [
        opinion(f"f{id}", id, consumer="judge", score=number % 5 / 4, label=f"l{number % 3}")
        for number, id in enumerate(ids)
    ]
    with store.writing.begin() as connection:
        connection.execute(insert(feedback), rows)


def count_unknown(store: Store) -> int:
    with store.reading.connect() as connection:
        return connection.scalar(select(func.count()).where(feedback.c.of_started == 0)) or 0


def tell(store: Store) -> list[Any]:
    with store.reading.connect() as connection:
        told = [read_opinions(connection, question, MONTH) for question in QUESTIONS]
    return [{group: sorted(opinions) for group, opinions in one.items()} for one in told]


def keep_all(store: Store) -> None:
    while keep_abouts(store):
        pass


def test_looked_up_it_counts_as_before(any_store: Store) -> None:
    write(any_store, MADE)
    say(any_store, [it.opened.id for it in MADE])
    before = tell(any_store)
    assert sum(count for _, count, _ in before[0][()]) == 60 and all(before)
    keep_all(any_store)
    with any_store.reading.connect() as connection:
        kept = connection.execute(select(feedback)).all()
        stored = {row.id: row for row in connection.execute(select(requests))}
    assert [row.of_started for row in kept] == [stored[row.request].started for row in kept]
    for name in DIMENSIONS:
        assert [getattr(row, f"of_{name}") for row in kept] == [getattr(stored[row.request], name) for row in kept]
    assert tell(any_store) == before


def test_it_counts_once_its_request_is_stored(any_store: Store) -> None:
    write(any_store, MADE[:1])
    say(any_store, [it.opened.id for it in MADE[:3]])
    keep_abouts(any_store)
    assert [count for _, count, _ in tell(any_store)[0][()]] == [1]
    write(any_store, MADE[1:3])
    told = tell(any_store)
    assert sum(count for _, count, _ in told[0][()]) == 3
    keep_abouts(any_store)
    assert tell(any_store) == told


def test_many_are_looked_up_a_few_at_a_time(any_store: Store) -> None:
    made = make_requests(1100)
    write(any_store, made)
    say(any_store, [it.opened.id for it in made])
    assert [keep_abouts(any_store) for _ in range(4)] == [True, True, False, False]
    assert count_unknown(any_store) == 0


def test_two_replicas_share_the_work_and_do_not_wait_for_each_other(postgres_store: Store) -> None:
    write(postgres_store, MADE)
    say(postgres_store, [it.opened.id for it in MADE])
    with postgres_store.writing.begin() as other:
        taken = other.execute(select(feedback.c.id).limit(20).with_for_update()).all()
        assert len(taken) == 20
        keep_all(postgres_store)
        assert count_unknown(postgres_store) == 20
    keep_all(postgres_store)
    assert count_unknown(postgres_store) == 0


def test_feedback_of_before_is_looked_up_after_the_upgrade(tmp_path: Path) -> None:
    path = str(tmp_path / "store.sqlite")
    store = open_store(path)
    write(store, MADE)
    with store.writing.begin() as connection:  # as it was before
        connection.exec_driver_sql("DROP INDEX feedback_started")
        for name in ("started", *DIMENSIONS):
            connection.exec_driver_sql(f"ALTER TABLE feedback DROP COLUMN of_{name}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0009_failed'")
        said = [(f"f{it.opened.id}", it.opened.id) for it in MADE]
        connection.exec_driver_sql("INSERT INTO feedback VALUES (?, ?, 'judge', 1.0, '', '', 1)", said)
    store.close()
    store = open_store(path)
    before = tell(store)
    assert sum(count for _, count, _ in before[0][()]) == 60
    keep_all(store)
    assert count_unknown(store) == 0 and tell(store) == before
    store.close()


def test_of_another_time_it_does_not_count(any_store: Store) -> None:
    write(any_store, MADE)
    say(any_store, [it.opened.id for it in MADE])
    day = plan_window(NOON - DAY, NOON, None, NOON)
    expected = sum(day.begin <= it.opened.started < day.end for it in MADE)
    assert 0 < expected < 60
    for _ in range(2):
        with any_store.reading.connect() as connection:
            (told,) = read_opinions(connection, QUESTIONS[0], day).values()
        assert sum(count for _, count, _ in told) == expected
        keep_abouts(any_store)

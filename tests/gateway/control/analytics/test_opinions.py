"""Feedback counts the same before and after it is looked up, and as soon as its request is stored."""

from typing import Any

import pytest
from sqlalchemy import insert, select

from gateway.control.analytics import opinions as module
from gateway.control.analytics.measures import DIMENSIONS
from gateway.control.analytics.opinions import keep_abouts
from gateway.control.analytics.question import Question, read_opinions
from gateway.control.analytics.window import plan_window
from gateway.control.api.scope import Scope
from gateway.control.store import Store
from gateway.control.tables import feedback, requests
from tests.gateway.control.analytics.month import DAY, make_requests, write
from tests.gateway.control.records import NOON

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
        {"id": f"f{id}", "request": id, "consumer": "judge", "score": number % 5 / 4, "label": f"l{number % 3}",
         "comment": "", "created": NOON}
        for number, id in enumerate(ids)
    ]  # fmt: skip
    with store.writing.begin() as connection:
        connection.execute(insert(feedback), rows)


def tell(store: Store) -> list[Any]:
    with store.reading.connect() as connection:
        told = [read_opinions(connection, question, MONTH) for question in QUESTIONS]
    return [{group: sorted(opinions) for group, opinions in one.items()} for one in told]


def test_looked_up_it_counts_as_before(any_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BATCH", 7)
    write(any_store, MADE)
    say(any_store, [it.opened.id for it in MADE])
    before = tell(any_store)
    assert sum(count for _, count, _ in before[0][()]) == 60 and all(before)
    keep_abouts(any_store)
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

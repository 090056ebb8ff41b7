import threading
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import delete, func, select

from gateway.control.analytics.fold import find_due, fold, forget_hours, make_due, rebuild
from gateway.control.analytics.measures import DIMENSIONS, MEASURES
from gateway.control.store import Store
from gateway.control.tables import requests, rollup_due, rollups
from tests.gateway.control.analytics.month import DAY, make_requests, write
from tests.gateway.control.records import NOON


def fold_all(store: Store, most: int = 2000) -> None:
    while True:
        with store.writing.begin() as connection:
            if not fold(connection, most):
                return


def read_all(store: Store) -> list[Any]:
    columns = [rollups.c[name] for name in ("grain", "is_private", "start", *DIMENSIONS, *MEASURES)]
    with store.reading.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(select(*columns)))


def sums(store: Store, *names: str, grain: str = "day", is_private: bool = True) -> list[Any]:
    wanted = [func.sum(rollups.c[name]) for name in names]
    query = select(*wanted).where(rollups.c.grain == grain, rollups.c.is_private == is_private)
    with store.reading.connect() as connection:
        return list(map(int, connection.execute(query).one()))


def test_roll_ups_are_what_the_requests_add_up_to(any_store: Store) -> None:
    made = make_requests(700)
    write(any_store, made)
    fold_all(any_store, most=50)
    expected = {
        "requests": 700,
        "units": sum(it.units for it in made),
        "cost_nano": sum(it.cost_nano or 0 for it in made),
        "tokens_in": sum(it.tokens_in for it in made),
        "tokens_out": sum(it.tokens_out for it in made),
        "tokens_cached": sum(it.tokens_cached for it in made),
        "streams": sum(it.opened.stream for it in made),
        "outcome_refused": sum(it.outcome == "refused" for it in made),
        "errors_15": sum(it.error == 1501 for it in made),
        "finish_other": sum(it.finish == "eh" for it in made),
        "hits": sum(it.cache == "hit" for it in made),
        "unpriced": sum(it.cost_nano is None and it.tokens_in + it.tokens_out > 0 for it in made),
        "retries": sum(it.retries for it in made),
    }
    for grain in ("hour", "day"):
        for is_private in (True, False):
            told = sums(any_store, *expected, grain=grain, is_private=is_private)
            assert dict(zip(expected, told, strict=True)) == expected, (grain, is_private)


def test_durations_are_those_of_complete_requests(store: Store) -> None:
    made = make_requests(300)
    write(store, made)
    fold_all(store)
    complete = [it for it in made if it.outcome == "complete"]
    assert sums(store, "timed", "outcome_complete", "total_us", "first_token_us", "timed_tokens") == [
        len(complete), len(complete), sum(it.total_us for it in complete), sum(it.first_token_us for it in complete),
        sum(it.tokens_out for it in complete),
    ]  # fmt: skip


def test_consumers_are_told_apart_and_together(store: Store) -> None:
    made = make_requests(300)
    write(store, made)
    fold_all(store)
    query = select(rollups.c.consumer, func.sum(rollups.c.requests)).where(rollups.c.grain == "day")
    with store.reading.connect() as connection:
        apart = connection.execute(query.where(rollups.c.is_private).group_by(rollups.c.consumer)).all()
        together = connection.execute(query.where(~rollups.c.is_private).group_by(rollups.c.consumer)).all()
    assert {consumer: count for consumer, count in apart} == Counter(it.opened.consumer for it in made)
    assert [tuple(row) for row in together] == [("", 300)]


def test_a_fold_that_is_not_committed_has_not_happened(store: Store) -> None:
    write(store, make_requests(50))
    with pytest.raises(ZeroDivisionError), store.writing.begin() as connection:
        assert fold(connection)
        raise ZeroDivisionError
    assert read_all(store) == []
    fold_all(store)
    assert sums(store, "requests") == [50]


def test_folding_while_requests_are_stored_counts_each_once(any_store: Store) -> None:
    """Two fold at once, as two replicas do, while a third stores."""
    made = make_requests(1_000)
    done = threading.Event()
    failures: list[BaseException] = []

    def keep_folding() -> None:
        try:
            while not done.wait(0.02):
                fold_all(any_store, most=20)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=keep_folding) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        write(any_store, made, batch=25)
    finally:
        done.set()
        for thread in threads:
            thread.join()
    fold_all(any_store)
    assert not failures
    assert sums(any_store, "requests", "units") == [1_000, sum(it.units for it in made)]


def test_an_older_store_is_rolled_up_day_by_day(any_store: Store) -> None:
    """As if it had been written before there were roll-ups; some of it is stored meanwhile."""
    write(any_store, make_requests(400))
    fold_all(any_store)
    expected = read_all(any_store)
    with any_store.writing.begin() as connection:
        connection.execute(delete(rollups))
        make_due(connection)
    with any_store.reading.connect() as connection:
        due = find_due(connection)
    assert len(due) in (3, 4) and due == sorted(due, reverse=True)
    for day in due:
        rebuild(any_store, day)
    assert read_all(any_store) == expected
    with any_store.reading.connect() as connection:
        assert find_due(connection) == []
        assert connection.scalar(select(func.count()).select_from(rollup_due)) == 0


def test_what_waits_is_not_counted_twice_by_a_rebuild(store: Store) -> None:
    write(store, make_requests(200))
    for day in {it.opened.started // DAY * DAY for it in make_requests(200)}:
        rebuild(store, day)
    fold_all(store)
    assert sums(store, "requests") == [200]


def test_a_day_whose_requests_were_removed_keeps_what_it_has(store: Store) -> None:
    write(store, make_requests(200))
    fold_all(store)
    with store.writing.begin() as connection:
        connection.execute(delete(requests).where(requests.c.started < NOON - DAY))
        make_due(connection)
    with store.reading.connect() as connection:
        due = find_due(connection)
    for day in due:
        rebuild(store, day)
    assert sums(store, "requests") == [200]


def test_old_hours_go_and_their_days_stay(store: Store) -> None:
    write(store, make_requests(200, days=10))
    fold_all(store)
    with store.writing.begin() as connection:
        forget_hours(connection, NOON - 2 * DAY)
    recent = [it for it in make_requests(200, days=10) if it.opened.started >= NOON - 2 * DAY]
    assert sums(store, "requests", grain="hour") == [len(recent)]
    assert sums(store, "requests", grain="day") == [200]


def test_a_name_that_cost_nothing_and_came_to_nothing_is_not_kept(store: Store) -> None:
    """Else anybody could fill the table with names of models that he makes up."""
    made = make_requests(100)
    for number, request in enumerate(made):
        request.opened.model, request.outcome, request.units = f"made-up-{number}", "upstream_rejected", 0
    write(store, made)
    fold_all(store)
    with store.reading.connect() as connection:
        assert connection.scalars(select(rollups.c.model).distinct()).all() == [""]

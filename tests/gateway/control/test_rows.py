"""What is stored of requests is what their records say, whichever of their fields a batch makes use of."""

from itertools import chain
from typing import Any

from msgspec import structs
from sqlalchemy import select

from gateway.control.batch import Batch
from gateway.control.rows import write_batch
from gateway.control.store import Store
from gateway.control.tables import column_names, requests
from gateway.journal import Closed, Opened
from tests.gateway.control.records import NOON

_USED: dict[Any, Any] = {str: "used", int: 7, int | None: 0, bool: True}


def make(id: str, field: str = "") -> Closed:
    """A request that makes use of nothing but what each has, and of one field."""
    opened = Opened(id, NOON, "", "", "", "", 0)
    closed = Closed(opened, 0, 0, "")
    for record in (opened, closed):
        for info in structs.fields(record):
            if info.name == field and info.type in _USED:
                setattr(record, field, _USED[info.type])
    return closed


def flatten(closed: Closed) -> dict[str, Any]:
    records = ((closed.opened, column_names(Opened)), (closed, column_names(Closed)))
    return {name: getattr(record, name) for record, names in records for name in names} | {"writer": "w"}


def write(store: Store, finished: list[Closed]) -> None:
    with store.writing.begin() as connection:
        write_batch(connection, Batch(finished=finished), "w")


def read(store: Store) -> dict[str, dict[str, Any]]:
    with store.reading.connect() as connection:
        return {row.id: dict(row._mapping) for row in connection.execute(select(requests))}


def test_whichever_field_is_used(any_store: Store) -> None:
    names = [*column_names(Opened)[1:], *column_names(Closed)]
    made = [[make(f"empty-{name}"), make(f"full-{name}", name)] for name in names]
    for batch in made:
        write(any_store, batch)
    write(any_store, alone := [make("none")])
    together = [make(f"together-{name}", name) for name in names]
    write(any_store, together)
    stored = read(any_store)
    assert len(stored) == 3 * len(names) + 1
    for closed in (*chain(*made), *alone, *together):
        assert stored[closed.opened.id] == flatten(closed)


def test_a_cost_that_is_not_known_is_not_nothing(any_store: Store) -> None:
    for number, costs in enumerate(([None, None], [0, 0], [None, 0], [5, None])):
        made = [make(f"{number}-{place}") for place in range(2)]
        for closed, cost in zip(made, costs, strict=True):
            closed.cost_nano = cost
        write(any_store, made)
        stored = read(any_store)
        assert [stored[closed.opened.id]["cost_nano"] for closed in made] == costs


def test_a_row_that_is_there_stays_as_it_is(any_store: Store) -> None:
    write(any_store, [make("a", "tier")])
    write(any_store, [make("a", "role"), make("b", "role")])
    stored = read(any_store)
    assert (stored["a"]["tier"], stored["a"]["role"], stored["b"]["role"]) == ("used", "", "used")

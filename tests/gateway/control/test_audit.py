"""The audit log: a chain in which every change shows, failed logins counted once, retention that leaves it whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from sqlalchemy import delete, select, update

from gateway.control.audit.book import Book
from gateway.control.audit.entry import Entry, Head, Link, link, verify
from gateway.control.audit.failures import OTHERS, count_failures
from gateway.control.audit.question import Question, find_entries
from gateway.control.store import Store
from gateway.control.tables import audit, login_failures
from gateway.journal import Closed, Opened

texts = st.text(max_size=8)
entries = st.builds(
    Entry, st.integers(0, 2**53), texts, texts, texts, texts, texts, st.dictionaries(texts, texts, max_size=2)
)


def chain(of: list[Entry], instance: str = "a") -> list[Link]:
    head, made = Head(), []
    for entry in of:
        made.append(link(instance, head, entry))
        head = Head(made[-1].number, made[-1].hash)
    return made


def head_of(links: list[Link]) -> Head:
    return Head(links[-1].number, links[-1].hash)


@given(st.lists(entries, min_size=1, max_size=8))
def test_an_untouched_chain_is_whole(of: list[Entry]) -> None:
    links = chain(of)
    for kept in (None, Head(), Head(links[0].number, links[0].hash), head_of(links)):
        assert verify("a", links, kept).fault == ""


@given(st.lists(entries, min_size=2, max_size=8, unique_by=lambda one: one.at), st.data())
def test_whatever_is_done_to_a_chain_shows(of: list[Entry], data: st.DataObject) -> None:
    links = chain(of)
    at = data.draw(st.integers(0, len(links) - 1))
    other = replace(links[at], entry=replace(links[at].entry, subject=links[at].entry.subject + "x"))
    forged = link("a", Head(links[at].number - 1, links[at].previous), other.entry)  # with a hash that is right
    touched: dict[str, list[Link]] = {
        "changed": [*links[:at], other, *links[at + 1 :]],
        "changed with its hash": [*links[:at], forged, *links[at + 1 :]],
        "removed": [*links[:at], *links[at + 1 :]],
        "twice": [*links[: at + 1], links[at], *links[at + 1 :]],
        "turned round": links[::-1],
        "of another instance": chain(of, "b"),
        "cut off": links[:-1],
        "gone": [],
    }
    for how, changed in touched.items():
        assert verify("a", changed, head_of(links)).fault, how


def test_the_end_that_is_cut_off_shows_by_the_head_alone() -> None:
    links = chain([Entry(number, "", "x") for number in range(5)])
    assert verify("a", links[:3], None).fault == ""
    assert verify("a", links[:3], head_of(links)).fault.startswith("entry 5 is missing")


@pytest.fixture
def book(store: Store, tmp_path: Path) -> Book:
    return Book(store, "a", str(tmp_path / "audit.head"), lambda: 5_000_000)


def rows(store: Store) -> list[Any]:
    with store.reading.connect() as connection:
        return list(connection.execute(select(audit).order_by(audit.c.instance, audit.c.number)))


def faults(book: Book) -> list[str]:
    return [verdict.fault for verdict in book.verify()]


def test_entries_are_chained_in_the_store_and_over_restarts(book: Book, store: Store, tmp_path: Path) -> None:
    book.note("admin", "reload")
    book.note("admin", "key.new", "acme", details={"tier": "pro"})
    again = Book(store, "a", str(tmp_path / "audit.head"), lambda: 6_000_000)
    again.note("admin", "key.revoke", "k1")
    other = Book(store, "b", str(tmp_path / "other.head"), lambda: 6_000_000)
    other.note("admin", "drain")
    assert [(row.instance, row.number) for row in rows(store)] == [("a", 1), ("a", 2), ("a", 3), ("b", 1)]
    assert faults(again) == ["", ""]


TAMPERING: dict[str, Callable[[Any], Any]] = {
    "changed": lambda c: c.execute(update(audit).where(audit.c.number == 2).values(actor="somebody")),
    "details changed": lambda c: c.execute(update(audit).where(audit.c.number == 2).values(details='{"tier":"x"}')),
    "removed": lambda c: c.execute(delete(audit).where(audit.c.number == 2)),
    "cut off": lambda c: c.execute(delete(audit).where(audit.c.number == 3)),
    "the beginning removed": lambda c: c.execute(delete(audit).where(audit.c.number == 1)),
    "all removed": lambda c: c.execute(delete(audit)),
    "inserted": lambda c: c.execute(
        audit.insert().values(instance="a", number=4, at=1, actor="", action="x", subject="", address="",
                              outcome="done", details="{}", previous="", hash="")
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERING)
def test_tampering_with_the_store_is_found(book: Book, store: Store, how: str) -> None:
    for number in range(3):
        book.note("admin", "key.new", f"k{number}")
    assert faults(book) == [""]
    with store.writing.begin() as connection:
        TAMPERING[how](connection)
    (fault,) = faults(book)
    assert fault


def test_what_is_old_is_removed_and_the_chain_stays_whole(store: Store, tmp_path: Path) -> None:
    now = [0]
    book = Book(store, "a", str(tmp_path / "head"), lambda: now[0])
    for now[0] in range(1, 11):
        book.note("admin", "reload")
    now[0] = 20
    assert book.prune(before=6) == 5
    assert [row.number for row in rows(store)] == [6, 7, 8, 9, 10, 11]
    assert faults(book) == [""]
    assert book.prune(before=6) == 0
    book.note("admin", "reload")
    assert faults(book) == [""]
    with store.writing.begin() as connection:
        connection.execute(delete(audit).where(audit.c.number == 6))
    assert faults(book) == ["entries 1 to 6 are missing, and no entry says why"]


def failed(peer: str, error: int, started: int) -> Closed:
    opened = Opened("i", started, "POST", "/", peer, "r", 1)
    return Closed(opened, started + 1, 401, "refused", error)


def count(store: Store, *closed: Closed) -> None:
    with store.writing.begin() as connection:
        count_failures(connection, closed)


def test_failed_logins_become_one_entry_for_each_address_and_reason(book: Book, store: Store) -> None:
    count(store, failed("1.1.1.1", 1002, 5), failed("1.1.1.1", 1002, 3), failed("2.2.2.2", 1002, 4))
    count(store, failed("1.1.1.1", 1002, 9), failed("1.1.1.1", 1007, 9), failed("1.1.1.1", 1501, 9), failed("x", 0, 1))
    book.flush()
    book.flush()
    told = {(row.address, row.subject): row.details for row in rows(store)}
    assert told == {
        ("1.1.1.1", "invalid_api_key"): '{"number":"1002","times":"3","first":"3","last":"9"}',
        ("2.2.2.2", "invalid_api_key"): '{"number":"1002","times":"1","first":"4","last":"4"}',
        ("1.1.1.1", "expired_token"): '{"number":"1007","times":"1","first":"9","last":"9"}',
    }
    assert faults(book) == [""]


def test_a_flood_from_everywhere_is_bounded(store: Store) -> None:
    count(store, failed("0.0.0.1", 1002, 1))
    for batch in range(3):
        count(store, *[failed(f"10.{batch}.{at >> 8}.{at & 255}", 1002, 7) for at in range(2000)])
    count(store, failed("0.0.0.1", 1002, 9))
    with store.reading.connect() as connection:
        found = {row.address: row.times for row in connection.execute(select(login_failures))}
    assert len(found) <= 502
    assert found["0.0.0.1"] == 2 and sum(found.values()) == 6002 and found[OTHERS] > 5000


def ask(store: Store, **wanted: Any) -> tuple[list[str], str | None]:
    with store.reading.connect() as connection:
        found, cursor = find_entries(connection, Question(**wanted))
    return [entry.subject for entry in found], cursor


def test_pages_and_filters(store: Store, tmp_path: Path) -> None:
    now = [0]
    for instance in ("a", "b"):
        book = Book(store, instance, str(tmp_path / instance), lambda: now[0])
        for now[0] in (1, 2, 2, 3):
            book.note("admin", "key.new" if now[0] == 2 else "reload", f"{instance}{now[0]}", address="10.0.0.1")
    seen, cursor = [], ""
    while True:
        page, after = ask(store, limit=3, after=cursor)
        seen += page
        if after is None:
            break
        cursor = after
    assert seen == ["b3", "a3", "b2", "b2", "a2", "a2", "b1", "a1"]
    assert ask(store, action="key.*")[0] == ["b2", "b2", "a2", "a2"]
    assert ask(store, action="key.new", since=2, until=3, subject="a2")[0] == ["a2", "a2"]
    assert ask(store, actor="nobody")[0] == [] and ask(store, address="10.0.0.1", since=3)[0] == ["b3", "a3"]
    with pytest.raises(ValueError, match="cursor"):
        ask(store, after="x-1-a")

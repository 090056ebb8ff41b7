"""The plan is pure: a small model applies it, and any cut of the lines must end in the same."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway.control.batch import Batch, plan, plan_lost
from gateway.journal import Closed, Lost, Opened, Progress
from tests.gateway.control.records import NOON, closed, opened

encode = msgspec.json.Encoder().encode


def lines(*records: object) -> bytes:
    return b"".join(encode(record) + b"\n" for record in records)


class Model:
    """What the store would hold."""

    def __init__(self) -> None:
        self.finished: list[Closed] = []
        self.open: dict[str, tuple[int, int]] = {}
        self.usage: dict[tuple[str, str], int] = {}
        self.lost = 0

    def apply(self, batch: Batch) -> None:
        self.finished += batch.finished
        self.open.update({id: (bytes_out, tokens_out) for id, _, _, bytes_out, tokens_out in batch.opened})
        for bytes_out, tokens_out, id in batch.progress:
            if id in self.open:
                self.open[id] = (bytes_out, tokens_out)
        for (id,) in batch.closed:
            self.open.pop(id, None)
        for month, units in batch.usage.items():
            self.usage[month] = self.usage.get(month, 0) + units
        self.lost += batch.lost


def test_a_finished_request_is_one_row_and_nothing_else() -> None:
    request = opened("1")
    batch = plan(lines(request, Progress("1", 5, 1), closed(request)), "w")
    assert batch == Batch(finished=[closed(request)], usage={("month:acme", "2026-11"): 1000})


def test_a_close_alone_ends_what_an_earlier_batch_opened() -> None:
    assert plan(lines(closed(opened("1"))), "w").closed == [("1",)]


def test_an_open_request_is_kept_with_its_last_progress() -> None:
    batch = plan(lines(opened("1"), Progress("1", 5, 1), Progress("1", 9, 2), Progress("2", 3, 1)), "w")
    assert batch.opened == [("1", "w", encode(opened("1")).decode(), 9, 2)]
    assert batch.progress == [(3, 1, "2")]


def test_only_kept_units_of_a_month_count() -> None:
    requests = opened("1"), opened("2", quota_key="", period=""), opened("3", reserved=0), opened("4", period="2026-12")
    batch = plan(lines(*(closed(request) for request in requests)), "w")
    assert batch.usage == {("month:acme", "2026-11"): 1000, ("month:acme", "2026-12"): 1000}


def test_garbage_is_counted_and_skipped() -> None:
    data = lines(opened("1"), Lost(3)) + b'["o","torn\n\n["x",1]\n\xff\xfe\n' + lines(closed(opened("1")))
    batch = plan(data, "w")
    assert batch.finished == [closed(opened("1"))]
    assert batch.opened == []
    assert batch.lost == 3 + 3


def test_fields_of_a_later_version_are_ignored() -> None:
    later = msgspec.json.encode([*msgspec.json.decode(encode(Progress("1", 2, 3))), "new"]) + b"\n"
    assert plan(later, "w").progress == [(2, 3, "1")]


def test_what_a_dead_worker_left_open_keeps_its_units_and_what_was_delivered() -> None:
    batch = plan(lines(opened("1"), Progress("1", 300, 12), opened("2", quota_key="", period="")), "w")
    lost = plan_lost(batch.opened, NOON + 9_000_000)
    assert lost.closed == [("1",), ("2",)]
    assert lost.usage == {("month:acme", "2026-11"): 1000}
    first = lost.finished[0]
    assert (first.outcome, first.error, first.status) == ("worker_lost", 1903, 0)
    assert (first.units, first.tokens_in, first.tokens_out, first.tokens_source) == (1000, 7, 12, "estimated")
    assert (first.bytes_out, first.finished, first.total_us) == (300, NOON + 9_000_000, 9_000_000)


def test_a_dead_workers_tokens_and_money_stay_charged() -> None:
    """7 tokens of the prompt and 12 delivered, at 1 and 10 USD a million; units as they were reserved."""
    charges = (("tokens", "tokens", 99_000), ("money", "money", 5_000_000), ("project", "units", 500))
    request = opened("1", price="1.0/10.0/0.5", charges=charges)
    lost = plan_lost(plan(lines(request, Progress("1", 300, 12)), "w").opened, NOON)
    assert lost.finished[0].cost_nano == 7 * 1000 + 12 * 10_000
    assert lost.usage == {
        ("month:acme", "2026-11"): 1000, ("tokens", "2026-11"): 19_000, ("money", "2026-11"): 127_000,
        ("project", "2026-11"): 500,
    }  # fmt: skip


def test_every_counter_that_was_charged_is_summed() -> None:
    kept = (("tokens", "tokens", 18_000), ("money", "money", 0))
    records = [closed(opened(id, quota_key=""), charges=kept) for id in "ab"]
    assert plan(lines(*records), "w").usage == {("tokens", "2026-11"): 36_000}


@st.composite
def journals(draw: st.DrawFn) -> list[bytes]:
    """Lines of several requests, interleaved, each in its own order; some never end."""
    stories = []
    for number in range(draw(st.integers(1, 6))):
        request: Opened = opened(str(number), quota_key=draw(st.sampled_from(["", "month:a", "month:b"])))
        story: list[object] = [request] if draw(st.booleans()) else []
        story += [Progress(request.id, n, n) for n in range(draw(st.integers(0, 3)) if story else 0)]
        story += [closed(request, units=draw(st.integers(0, 5)))] if draw(st.booleans()) else []
        stories.append([encode(record) + b"\n" for record in story])
    order = draw(st.permutations([number for number, story in enumerate(stories) for _ in story]))
    left = [iter(story) for story in stories]
    return [next(left[number]) for number in order]


@given(journals(), st.data())
def test_any_cut_ends_in_the_same(journal: list[bytes], data: st.DataObject) -> None:
    whole, pieces = Model(), Model()
    whole.apply(plan(b"".join(journal), "w"))
    rest = journal
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        pieces.apply(plan(b"".join(rest[:size]), "w"))
        rest = rest[size:]
    assert vars(whole) == vars(pieces)

"""Rows of requests in, what they add to the roll-ups out. Pure.

Requests are added up by hour and all dimensions: an `Entry` for each combination that occurs. What a coarser
roll-up gets is made of entries later, by `spread`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from operator import add
from typing import Any

import msgspec

from gateway.control.analytics.histogram import PLACES, find_step
from gateway.control.analytics.measures import (
    CLASSES,
    DAY,
    DIMENSIONS,
    DURATIONS,
    FINISHES,
    FIRST_TOKENS,
    HOUR,
    MEASURES,
    OUTCOMES,
    PRIVATE,
)

Row = tuple[Any, ...]
Key = tuple[Any, ...]  # when it began (unix microseconds), then DIMENSIONS
Entries = dict[Key, list[int]]  # MEASURES by key

SOURCE = (
    "started", *DIMENSIONS, "outcome",
    "units", "cost_nano", "tokens_in", "tokens_out", "tokens_cached", "bytes_in", "bytes_out",
    "error", "finish", "stream", "cache", "retries", "tokens_source",
    "queue_us", "load_us", "connect_us", "first_token_us", "decode_us", "overhead_us", "total_us",
)  # fmt: skip
"""The columns of `requests` that `tally` wants, in this order."""

_AT = {name: place for place, name in enumerate(MEASURES)}
_OUTCOME = {outcome: _AT[f"outcome_{outcome}"] for outcome in OUTCOMES}
_CLASS = {hundred: _AT[f"errors_{hundred}"] for hundred in CLASSES}
_FINISH = {finish: _AT[f"finish_{finish}"] for finish in FINISHES}
_OTHER = _AT["finish_other"]
_UNITS, _QUEUE = _AT["units"], _AT["queue_us"]
_STREAMS, _HITS, _RETRIES, _UNPRICED, _ESTIMATED, _TIMED = (
    _AT[name] for name in ("streams", "hits", "retries", "unpriced", "estimated", "timed")
)
_TIMED_TOKENS = _AT["timed_tokens"]
_DURATION = [(_AT[DURATIONS[0]] + column, one) for column, one in PLACES]
_FIRST_TOKEN = [(_AT[FIRST_TOKENS[0]] + column, one) for column, one in PLACES]
_FREE = ("refused", "upstream_rejected")
_HIDDEN = [name in PRIVATE for name in DIMENSIONS]
_MODEL = DIMENSIONS.index("model")
_EMPTY = [0] * len(MEASURES)


def tally(rows: Iterable[Row]) -> Entries:
    """`rows` are tuples of SOURCE."""
    groups: dict[tuple[int, Row], list[Row]] = defaultdict(list)
    for row in rows:
        named = row[1:9]
        if row[9] in _FREE and not row[10]:  # nothing was charged: the model may be any name that somebody made up
            named = (*named[:_MODEL], "", *named[_MODEL + 1 :])
        groups[row[0] // HOUR, named].append(row)
    return {(hour * HOUR, *named): _sum_up(group) for (hour, named), group in groups.items()}


def merge(into: Entries, more: Entries) -> None:
    for key, entry in more.items():
        known = into.get(key)
        into[key] = entry if known is None else list(map(add, known, entry))


def spread(entries: Entries) -> dict[tuple[str, bool], Entries]:
    """The same by (grain, whether consumers are told apart): what the table holds."""
    spread: dict[tuple[str, bool], Entries] = {("hour", True): entries}
    for grain, is_private in (("day", True), ("hour", False), ("day", False)):
        coarse = spread[grain, is_private] = {}
        for (hour, *dimensions), entry in entries.items():
            start = hour - hour % DAY if grain == "day" else hour
            if not is_private:
                dimensions = ["" if hidden else value for hidden, value in zip(_HIDDEN, dimensions, strict=True)]
            merge(coarse, {(start, *dimensions): entry})
    return spread


def pack(entries: Entries) -> bytes:
    return _encode(list(entries.items()))


def unpack(data: bytes) -> Entries:
    return {tuple(key): entry for key, entry in _decode(data)}


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[tuple[tuple[int | str, ...], list[int]]]).decode


def _sum_up(rows: list[Row]) -> list[int]:
    """By columns: a sum over many rows costs what one addition does."""
    entry = _EMPTY.copy()
    outcomes, units, costs, *columns = [*zip(*rows, strict=True)][9:]
    tokens_in, tokens_out, cached, received, sent, errors, finishes, streams, caches, retries, sources = columns[:11]
    entry[0] = len(rows)
    for outcome in outcomes:
        if (at := _OUTCOME.get(outcome)) is not None:
            entry[at] += 1
    for error in filter(None, errors):
        if (at := _CLASS.get(error // 100)) is not None:
            entry[at] += 1
    for finish in filter(None, finishes):
        entry[_FINISH.get(finish, _OTHER)] += 1
    entry[_STREAMS], entry[_HITS], entry[_RETRIES] = sum(streams), caches.count("hit"), sum(retries)
    entry[_ESTIMATED] = sources.count("estimated")
    if None in costs:
        unpriced = zip(costs, tokens_in, tokens_out, strict=True)
        entry[_UNPRICED] = sum(cost is None and bool(asked or answered) for cost, asked, answered in unpriced)
        costs = tuple(filter(None, costs))
    summed = (units, costs, tokens_in, tokens_out, cached, received, sent)
    entry[_UNITS : _UNITS + len(summed)] = map(sum, summed)
    timed = rows if outcomes.count("complete") == len(rows) else [row for row in rows if row[9] == "complete"]
    if timed:
        _time(entry, timed)
    return entry


def _time(entry: list[int], rows: list[Row]) -> None:
    columns = [*zip(*rows, strict=True)]
    times = columns[SOURCE.index("queue_us") :]
    entry[_TIMED] = len(rows)
    entry[_TIMED_TOKENS] = sum(columns[SOURCE.index("tokens_out")])
    entry[_QUEUE : _QUEUE + len(times)] = map(sum, times)
    for places, durations in ((_DURATION, times[6]), (_FIRST_TOKEN, filter(None, times[3]))):
        for step, count in Counter(map(find_step, durations)).items():
            at, one = places[step]
            entry[at] += one * count

"""Rows of requests in, what they add to the roll-ups out. Pure.

Requests are added up by hour and all dimensions: an `Entry` for each combination that occurs. What a coarser
roll-up gets is made of entries later, by `spread`.
"""

from collections.abc import Iterable, Sequence
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
    SUMS,
)  # fmt: skip

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
_TIMES = range(_QUEUE, _QUEUE + len(SUMS) - SUMS.index("queue_us"))
_STREAMS, _HITS, _RETRIES, _UNPRICED, _ESTIMATED, _TIMED = (
    _AT[name] for name in ("streams", "hits", "retries", "unpriced", "estimated", "timed")
)
_TIMED_TOKENS = _AT["timed_tokens"]
_DURATION = [(_AT[DURATIONS[0]] + column, one) for column, one in PLACES]
_FIRST_TOKEN = [(_AT[FIRST_TOKENS[0]] + column, one) for column, one in PLACES]
_FREE = ("refused", "upstream_rejected")
_HIDDEN = [name in PRIVATE for name in DIMENSIONS]


def tally(rows: Iterable[Sequence[Any]]) -> Entries:
    """`rows` are tuples of SOURCE."""
    entries: Entries = {}
    for row in rows:
        started, consumer, project, tier, route, operation, model, provider, period, outcome, units = row[:11]
        if outcome in _FREE and not units:
            model = ""  # nothing was charged for it, so it may be any name that somebody made up
        key = (started - started % HOUR, consumer, project, tier, route, operation, model, provider, period)
        entry = entries.get(key)
        if entry is None:
            entry = entries[key] = [0] * len(MEASURES)
        _count(entry, outcome, row)
    return entries


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


def _count(entry: list[int], outcome: str, row: Sequence[Any]) -> None:
    units, cost, tokens_in, tokens_out, cached, received, sent, error, finish, stream, cache, retries, source = row[
        10:23
    ]
    entry[0] += 1
    if (at := _OUTCOME.get(outcome)) is not None:
        entry[at] += 1
    if error and (at := _CLASS.get(error // 100)) is not None:
        entry[at] += 1
    if finish:
        entry[_FINISH.get(finish, _OTHER)] += 1
    entry[_STREAMS] += stream
    entry[_HITS] += cache == "hit"
    entry[_RETRIES] += retries
    entry[_ESTIMATED] += source == "estimated"
    if cost is None:
        cost = 0
        entry[_UNPRICED] += bool(tokens_in or tokens_out)
    for at, value in enumerate((units, cost, tokens_in, tokens_out, cached, received, sent), _UNITS):
        entry[at] += value
    if outcome == "complete":
        _time(entry, tokens_out, row[23:])


def _time(entry: list[int], tokens: int, times: Sequence[int]) -> None:
    entry[_TIMED] += 1
    entry[_TIMED_TOKENS] += tokens
    for at, value in zip(_TIMES, times, strict=True):
        entry[at] += value
    first, total = times[3], times[6]
    at, one = _DURATION[find_step(total)]
    entry[at] += one
    if first:
        at, one = _FIRST_TOKEN[find_step(first)]
        entry[at] += one

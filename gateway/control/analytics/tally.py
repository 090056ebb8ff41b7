"""Requests in, by columns, what they add to the roll-ups out. Pure.

Requests are added up by hour and all dimensions: an `Entry` for each combination that occurs. What a coarser
roll-up gets is made of entries later, by `spread`.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import compress
from operator import add, itemgetter
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

Columns = Sequence[Sequence[Any]]  # each of all requests
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
_FREE = ("refused", "upstream_rejected")  # where nothing was charged, the model may be any name that somebody made up
_HIDDEN = [name in PRIVATE for name in DIMENSIONS]
_MODEL = DIMENSIONS.index("model")
_MEASURED = SOURCE.index("outcome")
_TOKENS_OUT, _TIMES, _TOTAL, _FIRST = (
    SOURCE.index(name) - _MEASURED for name in ("tokens_out", "queue_us", "total_us", "first_token_us")
)
_EMPTY = [0] * len(MEASURES)


def tally(columns: Columns) -> Entries:
    """`columns` are those of SOURCE."""
    started, *dimensions = columns[:_MEASURED]
    measured = columns[_MEASURED:]
    outcomes, units = measured[:2]
    if any(map(outcomes.count, _FREE)):
        known = zip(dimensions[_MODEL], outcomes, units, strict=True)
        dimensions[_MODEL] = ["" if outcome in _FREE and not charged else name for name, outcome, charged in known]
    hours = [moment - moment % HOUR for moment in started]
    groups: dict[Key, list[int]] = defaultdict(list)
    for place, key in enumerate(zip(hours, *dimensions, strict=True)):
        groups[key].append(place)
    if len(groups) == 1:
        return {key: _sum_up(measured) for key in groups}
    return {key: _sum_up(_choose(measured, places)) for key, places in groups.items()}


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


def _choose(columns: Columns, places: Sequence[int]) -> Columns:
    if len(places) == 1:
        return [(values[places[0]],) for values in columns]
    return [*map(itemgetter(*places), columns)]


def _sum_up(columns: Columns) -> list[int]:
    """By columns: a sum over many requests costs what one addition does."""
    entry = _EMPTY.copy()
    outcomes, units, costs, tokens_in, tokens_out, cached, received, sent = columns[:8]
    errors, finishes, streams, caches, retries, sources = columns[8:_TIMES]
    entry[0] = len(outcomes)
    for outcome in set(outcomes):
        if (at := _OUTCOME.get(outcome)) is not None:
            entry[at] = outcomes.count(outcome)
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
    complete = entry[_OUTCOME["complete"]]
    if complete == len(outcomes):
        _time(entry, columns)
    elif complete:
        is_complete = [outcome == "complete" for outcome in outcomes]
        _time(entry, [tuple(compress(values, is_complete)) for values in columns])
    return entry


def _time(entry: list[int], columns: Columns) -> None:
    times = columns[_TIMES:]
    entry[_TIMED], entry[_TIMED_TOKENS] = len(columns[0]), sum(columns[_TOKENS_OUT])
    entry[_QUEUE : _QUEUE + len(times)] = map(sum, times)
    for places, durations in ((_DURATION, columns[_TOTAL]), (_FIRST_TOKEN, filter(None, columns[_FIRST]))):
        for step, count in Counter(map(find_step, durations)).items():
            at, one = places[step]
            entry[at] += one * count

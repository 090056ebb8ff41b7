"""What callers are told: figures made of sums, in milliseconds, units, tokens and USD. Pure."""

from collections.abc import Callable, Mapping, Sequence

import msgspec

from gateway.control.analytics.histogram import find_percentile, unpack
from gateway.control.analytics.measures import CLASSES, DURATIONS, FINISHES, FIRST_TOKENS, OUTCOMES
from gateway.control.tables import GOOD
from gateway.entry import CATEGORIES

Sums = Mapping[str, int]  # by the name of their measure
Opinions = Sequence[tuple[str, int, float]]  # label, how many, sum of their scores


class Spread(msgspec.Struct, frozen=True):
    """Milliseconds. Percentiles are read from steps of 19 %; None: nothing was measured."""

    mean: float | None
    p50: float | None
    p90: float | None
    p95: float | None
    p99: float | None


class Parts(msgspec.Struct, frozen=True):
    """Where the time of complete requests went: means in milliseconds. `first_token` counts from the beginning."""

    queue: float
    load: float
    connect: float
    first_token: float
    decode: float
    overhead: float


class Costs(msgspec.Struct, frozen=True):
    """Money is USD. Of `unpriced_requests` no price was known: they are in the tokens and not in the cost."""

    requests: int
    total_cost: float
    cost_per_request: float
    unpriced_requests: int
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int


class Usage(msgspec.Struct, frozen=True):
    """What was used. `estimated_requests` have tokens that nobody counted."""

    requests: int
    units: float
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cached_tokens: int
    total_cost: float
    unpriced_requests: int
    estimated_requests: int


class Performance(msgspec.Struct, frozen=True):
    """Durations are of complete requests. `speed` is completion tokens a second of one request, from end to end."""

    requests: int
    errors: int
    error_rate: float
    requests_per_second: float
    tokens_per_second: float
    speed: float | None
    duration_ms: Spread
    ttft_ms: Spread
    parts_ms: Parts | None
    streams: int
    retries: int
    cache_hits: int


class Feedback(msgspec.Struct, frozen=True):
    """What people and programs think of answers, 0 to 1. `labels` are how often the commonest were given."""

    count: int
    mean_score: float | None
    labels: dict[str, int]


class Quality(msgspec.Struct, frozen=True):
    """How requests ended, by outcome, by category of the error catalogue, and why models stopped."""

    requests: int
    errors: int
    error_rate: float
    outcomes: dict[str, int]
    error_categories: dict[str, int]
    finish_reasons: dict[str, int]
    feedback: Feedback


class Comparison(msgspec.Struct, frozen=True):
    """A model beside others."""

    requests: int
    errors: int
    error_rate: float
    prompt_tokens: int
    completion_tokens: int
    total_cost: float
    cost_per_request: float
    unpriced_requests: int
    speed: float | None
    duration_ms: Spread
    ttft_ms: Spread
    feedback: Feedback


class Kind(msgspec.Struct, frozen=True):
    """A kind of figures: the measures it needs, and how they become figures (of so many seconds). `sort` is the measure
    by which groups are sorted."""

    measures: tuple[str, ...]
    make: Callable[[Sums, float, Opinions], msgspec.Struct]
    sort: str = "requests"
    has_opinions: bool = False


def _costs(sums: Sums, seconds: float, opinions: Opinions) -> Costs:
    cost, requests = sums["cost_nano"] / 1e9, sums["requests"]
    tokens_in, tokens_out = sums["tokens_in"], sums["tokens_out"]
    return Costs(
        requests, cost, cost / requests, sums["unpriced"], tokens_in, tokens_out, tokens_in + tokens_out,
        sums["tokens_cached"],
    )  # fmt: skip


def _usage(sums: Sums, seconds: float, opinions: Opinions) -> Usage:
    tokens_in, tokens_out = sums["tokens_in"], sums["tokens_out"]
    return Usage(
        sums["requests"], sums["units"] / 1000, tokens_in, tokens_out, tokens_in + tokens_out, sums["tokens_cached"],
        sums["cost_nano"] / 1e9, sums["unpriced"], sums["estimated"],
    )  # fmt: skip


def _performance(sums: Sums, seconds: float, opinions: Opinions) -> Performance:
    requests, timed, errors = sums["requests"], sums["timed"], _errors(sums)
    parts = Parts(*[_mean(sums[name], timed) or 0.0 for name in _PARTS]) if timed else None
    return Performance(
        requests, errors, errors / requests, requests / seconds, sums["tokens_out"] / seconds, _speed(sums),
        _spread(sums, DURATIONS, "total_us"), _spread(sums, FIRST_TOKENS, "first_token_us"), parts,
        sums["streams"], sums["retries"], sums["hits"],
    )  # fmt: skip


def _quality(sums: Sums, seconds: float, opinions: Opinions) -> Quality:
    errors = _errors(sums)
    return Quality(
        sums["requests"], errors, errors / sums["requests"],
        _some({outcome: sums[f"outcome_{outcome}"] for outcome in OUTCOMES}),
        _some({CATEGORIES[hundred]: sums[f"errors_{hundred}"] for hundred in CLASSES}),
        _some({finish: sums[f"finish_{finish}"] for finish in (*FINISHES, "other")}),
        _feedback(opinions),
    )  # fmt: skip


def _compare(sums: Sums, seconds: float, opinions: Opinions) -> Comparison:
    errors, requests, cost = _errors(sums), sums["requests"], sums["cost_nano"] / 1e9
    return Comparison(
        requests, errors, errors / requests, sums["tokens_in"], sums["tokens_out"], cost, cost / requests,
        sums["unpriced"], _speed(sums), _spread(sums, DURATIONS, "total_us"),
        _spread(sums, FIRST_TOKENS, "first_token_us"), _feedback(opinions),
    )  # fmt: skip


def _errors(sums: Sums) -> int:
    return sums["requests"] - sum(sums[f"outcome_{outcome}"] for outcome in GOOD)


def _speed(sums: Sums) -> float | None:
    return sums["timed_tokens"] / (sums["total_us"] / 1e6) if sums["total_us"] else None


def _spread(sums: Sums, columns: Sequence[str], total: str) -> Spread:
    counts = unpack(sums[name] for name in columns)
    told = [find_percentile(counts, percent) for percent in (50, 90, 95, 99)]
    return Spread(_mean(sums[total], sum(counts)), *[None if us is None else round(us / 1000, 1) for us in told])


def _mean(microseconds: int, count: int) -> float | None:
    return round(microseconds / count / 1000, 3) if count else None


def _feedback(opinions: Opinions) -> Feedback:
    count = sum(how_many for _, how_many, _ in opinions)
    largest = sorted(opinions, key=lambda opinion: (-opinion[1], opinion[0]))
    labels = {label: how_many for label, how_many, _ in largest[:_LABELS] if label}
    return Feedback(count, sum(scores for _, _, scores in opinions) / count if count else None, labels)


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in counts.items() if count}


_LABELS = 50  # that are told
_PARTS = ("queue_us", "load_us", "connect_us", "first_token_us", "decode_us", "overhead_us")
_GOOD = tuple(f"outcome_{outcome}" for outcome in GOOD)
_TOKENS = ("requests", "tokens_in", "tokens_out", "tokens_cached", "cost_nano", "unpriced")
_TIMES = ("timed", "timed_tokens", "total_us", "first_token_us", *DURATIONS, *FIRST_TOKENS)

COSTS = Kind(_TOKENS, _costs, "cost_nano")
USAGE = Kind((*_TOKENS, "units", "estimated"), _usage, "units")
PERFORMANCE = Kind(
    ("requests", "tokens_out", "streams", "retries", "hits", *_GOOD, *_TIMES, *(set(_PARTS) - {"first_token_us"})),
    _performance,
)
QUALITY = Kind(
    ("requests", *[f"outcome_{it}" for it in OUTCOMES], *[f"errors_{it}" for it in CLASSES],
     *[f"finish_{it}" for it in (*FINISHES, "other")]), _quality, has_opinions=True,
)  # fmt: skip
MODELS = Kind((*_TOKENS, *_GOOD, *_TIMES), _compare, has_opinions=True)

"""Analytics as callers get them: the figures are compared with those of the requests themselves."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from statistics import mean
from typing import Any

import pytest
from sqlalchemy import insert

from gateway.control.analytics.roller import fold_all
from gateway.control.api import analytics
from gateway.control.api.call import Caller
from gateway.control.store import Store, open_store
from gateway.control.tables import GOOD, feedback
from gateway.journal import Closed
from tests.gateway.control.analytics.month import make_requests, write
from tests.gateway.control.api.stage import ADMIN, Stage, playing
from tests.gateway.control.records import NOON, opinion

MADE = make_requests(600, days=6)
CALLS = [it for it in MADE if it.opened.operation]
SCORES = {it.opened.id: index % 5 / 4 for index, it in enumerate(CALLS[:40])}
A = "/api/v1/analytics/"
PATHS = [endpoint.path for endpoint in analytics.ENDPOINTS]
DEVELOPER = Caller("c1", "search", "developer", frozenset({"traces:read"}))
BILLING = Caller("c1", "search", "billing", frozenset({"costs:read", "usage:read"}))
NOBODY = Caller("c2", "search", "none", frozenset({"infer"}))


@pytest.fixture
async def stage(any_store: Store) -> AsyncIterator[Stage]:
    fill(any_store)
    async with playing(any_store, analytics.ENDPOINTS) as made:
        yield made


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = open_store(str(tmp_path_factory.mktemp("store") / "store.sqlite"))
    fill(store)
    yield store
    store.close()


@pytest.fixture
async def plain_stage(filled: Store) -> AsyncIterator[Stage]:
    """Over SQLite alone, for what no database is asked."""
    async with playing(filled, analytics.ENDPOINTS) as made:
        yield made


def fill(store: Store) -> None:
    write(store, MADE)
    opinions = [
        opinion(f"f{id}", id, consumer="c1", score=score, label="good" if score > 0.5 else "")
        for id, score in SCORES.items()
    ]
    with store.writing.begin() as connection:
        connection.execute(insert(feedback), opinions)
    fold_all(store)


async def ask(stage: Stage, path: str, caller: Caller = ADMIN, **parameters: Any) -> Any:
    return (await stage.get(path, caller, **parameters))["data"]


def groups(requests: list[Closed], of: Callable[[Closed], str]) -> dict[str, list[Closed]]:
    return {name: [it for it in requests if of(it) == name] for name in sorted({of(it) for it in requests})}


async def test_costs_are_what_requests_cost(stage: Stage) -> None:
    told = await ask(stage, A + "costs", group_by="model")
    assert told["figures"] == costs(CALLS)
    expected = groups(CALLS, lambda it: it.opened.model)
    free = [it for it in CALLS if it.outcome in ("refused", "upstream_rejected") and not it.units]
    assert not free, "else they were under no model"
    found = {group["by"]["model"]: group["figures"] for group in told["groups"]}
    assert found == {model: costs(requests) for model, requests in expected.items()}
    assert [group["figures"]["total_cost"] for group in told["groups"]] == sorted(
        (figures["total_cost"] for figures in found.values()), reverse=True
    )


def costs(requests: list[Closed]) -> dict[str, Any]:
    cost = sum(it.cost_nano or 0 for it in requests) / 1e9
    tokens_in, tokens_out = sum(it.tokens_in for it in requests), sum(it.tokens_out for it in requests)
    return {
        "requests": len(requests), "total_cost": pytest.approx(cost),
        "cost_per_request": pytest.approx(cost / len(requests)),
        "unpriced_requests": sum(it.cost_nano is None and it.tokens_in + it.tokens_out > 0 for it in requests),
        "prompt_tokens": tokens_in, "completion_tokens": tokens_out, "total_tokens": tokens_in + tokens_out,
        "cached_tokens": sum(it.tokens_cached for it in requests),
    }  # fmt: skip


async def test_usage_by_consumer_and_day(stage: Stage) -> None:
    told = await ask(stage, A + "usage", group_by="consumer,day", calls="all")
    assert told["figures"]["requests"] == 600
    found = {(group["by"]["consumer"], group["by"]["day"]): group["figures"] for group in told["groups"]}
    expected: Counter[tuple[str, str]] = Counter()
    for it in MADE:
        day = datetime.fromtimestamp(it.opened.started // 1_000_000, UTC)
        expected[it.opened.consumer, f"{day:%Y-%m-%d}T00:00:00Z"] += it.units
    assert {group: round(figures["units"] * 1000) for group, figures in found.items()} == expected


async def test_performance(stage: Stage) -> None:
    told = (await ask(stage, A + "performance"))["figures"]
    complete = [it for it in CALLS if it.outcome == "complete"]
    errors = sum(it.outcome not in GOOD for it in CALLS)
    assert (told["requests"], told["errors"]) == (len(CALLS), errors)
    assert told["error_rate"] == pytest.approx(errors / len(CALLS))
    assert told["duration_ms"]["mean"] == pytest.approx(mean(it.total_us for it in complete) / 1000, abs=0.01)
    assert told["ttft_ms"]["mean"] == pytest.approx(mean(it.first_token_us for it in complete) / 1000, abs=0.01)
    assert told["parts_ms"]["queue"] == pytest.approx(mean(it.queue_us for it in complete) / 1000, abs=0.01)
    durations = sorted(it.total_us / 1000 for it in complete)
    for percent in (50, 90, 95):
        true = durations[len(durations) * percent // 100]
        assert told["duration_ms"][f"p{percent}"] == pytest.approx(true, rel=0.19)
    speed = sum(it.tokens_out for it in complete) / sum(it.total_us for it in complete) * 1e6
    assert told["speed"] == pytest.approx(speed)
    assert told["requests_per_second"] == pytest.approx(len(CALLS) / 7 / 86_400, rel=0.01)


async def test_quality(stage: Stage) -> None:
    told = (await ask(stage, A + "quality"))["figures"]
    assert told["outcomes"] == Counter(it.outcome for it in CALLS)
    assert told["error_categories"]["RATE_LIMIT"] == sum(it.error == 1501 for it in CALLS)
    reasons = Counter("other" if it.finish == "eh" else it.finish for it in CALLS if it.finish)
    assert told["finish_reasons"] == reasons
    good = sum(score > 0.5 for score in SCORES.values())
    assert told["feedback"] == {
        "count": 40, "mean_score": pytest.approx(mean(SCORES.values())), "labels": {"good": good},
    }  # fmt: skip


async def test_models_side_by_side(stage: Stage) -> None:
    told = await ask(stage, "/api/v1/models/compare")
    assert {group["by"]["model"] for group in told["groups"]} == {"qwen", "llama"}
    counts = Counter(it.opened.model for it in CALLS if it.opened.id in SCORES)
    assert {group["by"]["model"]: group["figures"]["feedback"]["count"] for group in told["groups"]} == counts
    (only,) = (await ask(stage, "/api/v1/models/compare", models="qwen,other"))["groups"]
    assert only["by"] == {"model": "qwen"}


@pytest.mark.parametrize(
    ("filters", "holds"),
    [
        ({"consumer": "c2"}, lambda it: it.opened.consumer == "c2"),
        ({"model": "qwen", "project": "chat"}, lambda it: (it.opened.model, it.opened.project) == ("qwen", "chat")),
        ({"operation": "chat"}, lambda it: it.opened.operation == "chat"),
        ({"tier": "free"}, lambda it: False),
    ],
)
async def test_filters(plain_stage: Stage, filters: dict[str, str], holds: Callable[[Closed], bool]) -> None:
    told = await ask(plain_stage, A + "costs", **filters)
    expected = [it for it in CALLS if holds(it)]
    assert told["figures"] == (costs(expected) if expected else None)


async def test_the_time_before(plain_stage: Stage) -> None:
    told = await ask(plain_stage, A + "usage", **{"from": "2026-11-19", "to": "2026-11-21"}, compare="previous")
    day = 86_400_000_000
    midnight = NOON - NOON % day
    now = [it for it in CALLS if midnight - 2 * day <= it.opened.started < midnight]
    before = [it for it in CALLS if midnight - 4 * day <= it.opened.started < midnight - 2 * day]
    assert (told["begin"], told["end"]) == ("2026-11-19T00:00:00Z", "2026-11-21T00:00:00Z")
    assert (told["figures"]["requests"], told["previous"]["requests"]) == (len(now), len(before))
    by_day = await ask(plain_stage, A + "usage", **{"from": "2026-11-19", "to": "2026-11-21"}, compare="previous",
                       group_by="day")  # fmt: skip
    assert [group["by"]["day"] for group in by_day["groups"]] == ["2026-11-19T00:00:00Z", "2026-11-20T00:00:00Z"]
    assert sum(group["previous"]["requests"] for group in by_day["groups"]) == len(before)


@pytest.mark.parametrize(("bucket", "count"), [("hour", None), ("day", 7), ("week", 2), ("month", 1)])
async def test_buckets(plain_stage: Stage, bucket: str, count: int | None) -> None:
    told = await ask(plain_stage, A + "performance", bucket=bucket, top=1)
    starts = [group["by"][bucket] for group in told["groups"]]
    assert starts == sorted(set(starts)) and count in (None, len(starts))
    assert sum(group["figures"]["requests"] for group in told["groups"]) == len(CALLS) == told["figures"]["requests"]


async def test_the_largest_are_told(plain_stage: Stage) -> None:
    told = await ask(plain_stage, A + "usage", group_by="consumer", top=2)
    units = Counter(
        {name: sum(it.units for it in of) for name, of in groups(CALLS, lambda it: it.opened.consumer).items()}
    )
    assert [group["by"]["consumer"] for group in told["groups"]] == [name for name, _ in units.most_common(2)]
    assert told["left_out"] == 2 and told["figures"]["requests"] == len(CALLS)


@pytest.mark.parametrize("path", PATHS)
async def test_whose_requests_count(plain_stage: Stage, path: str) -> None:
    every = frozenset({"traces:read", "costs:read", "usage:read"})
    callers: list[tuple[Caller, Callable[[Closed], bool]]] = [
        (ADMIN, lambda it: True),
        (Caller("c1", "chat", "boss", frozenset({"*"})), lambda it: True),
        (Caller("c1", "chat", "auditor", every | {"projects:all"}), lambda it: True),
        (Caller("c1", "search", "developer", every), lambda it: it.opened.project == "search"),
        (Caller("c1", "", "developer", every), lambda it: it.opened.consumer == "c1"),
        (Caller("c3"), lambda it: it.opened.consumer == "c3"),
    ]
    for caller, holds in callers:
        for group_by in ("", "consumer", "project"):
            told = await ask(plain_stage, path, caller, group_by=group_by)
            expected = sum(holds(it) for it in CALLS)
            assert told["figures"]["requests"] == expected
            if told["groups"]:
                assert sum(group["figures"]["requests"] for group in told["groups"]) == expected


async def test_who_may(plain_stage: Stage) -> None:
    for path in PATHS:
        allowed = {
            "developer": not path.endswith("costs"), "billing": path.endswith(("costs", "usage")),
            "none": path.endswith("usage"),
        }  # fmt: skip
        for caller in (DEVELOPER, BILLING, NOBODY):
            answer = await plain_stage.call("GET", path, caller)
            assert answer.status == (200 if allowed[caller.role] else 403), (path, caller.role)


async def test_of_usage_everybody_sees_his_own(plain_stage: Stage) -> None:
    told = await ask(plain_stage, A + "usage", NOBODY, group_by="consumer")
    assert [group["by"]["consumer"] for group in told["groups"]] == ["c2"]
    told = await ask(plain_stage, A + "usage", BILLING, group_by="consumer,project")
    assert {group["by"]["project"] for group in told["groups"]} == {"search"}
    assert await ask(plain_stage, A + "usage", NOBODY, consumer="c1") == {
        **told, "figures": None, "previous": None, "groups": [], "left_out": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"group_by": "peer"}, "group_by"), ({"group_by": "day,hour"}, "group_by"), ({"from": "noon"}, "from"),
        ({"from": "1h", "to": "2h"}, "from"), ({"from": "1d", "bucket": "month", "compare": "previous"}, "from"),
        ({"from": "20d", "bucket": "hour"}, "from"), ({"bucket": "year"}, "bucket"), ({"top": "0"}, "top"),
        ({"from": "9999-01-01"}, "from"), ({"nonsense": "1"}, "nonsense"), ({"consumer": "a\x00"}, "consumer"),
    ],
)  # fmt: skip
async def test_what_is_refused(plain_stage: Stage, parameters: dict[str, str], param: str) -> None:
    assert await plain_stage.refusal(A + "costs", **parameters) == (1219, param)


async def test_an_answer_may_be_kept_for_a_minute_by_whom_it_is_for(plain_stage: Stage) -> None:
    days = {"from": "2026-11-19", "to": "2026-11-21"}
    answer = await plain_stage.call("GET", A + "costs", params=days)
    assert answer.headers["Cache-Control"] == "private, max-age=60"
    known = {"If-None-Match": answer.headers["ETag"]}
    again = await plain_stage.call("GET", A + "costs", params=days, headers=known)
    assert again.status == 304


async def test_too_many_groups_are_refused(plain_stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.control.analytics.question._MOST", 3)
    assert await plain_stage.refusal(A + "costs", group_by="consumer,model") == (1219, "group_by")

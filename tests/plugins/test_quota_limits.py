"""Who shares a limit, overrides, shadow, what the caller and the operator are told."""

from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Credential, Exchange, Outcome
from plugins.quota.rule import escape
from plugins.quota.subject import name_subject
from tests.plugins.shop import SECOND, Shop, lines_of

CONFIG = """
tiers:
  free: {rate: 10/min}
  big: {rate: 1000/min}
  month: {monthly: 100}
  every:
    limits:
      - {rate: 100/min, by: consumer}
      - {rate: 100/min, by: credential}
      - {rate: 100/min, by: project}
      - {rate: 100/min, by: ip}
      - {rate: 100/min, by: session}
      - {rate: 100/min, by: "header:x-team"}
      - {rate: 100/min, by: model}
      - {rate: 100/min, by: route}
      - {rate: 100/min, by: consumer+model, name: pair}
      - {rate: 100/min, by: project+session}
  dark: {rate: 2/min, burst: 2, monthly: 1, shadow: true}
  half: {rate: 100/min, limits: [{monthly: 1, by: project, shadow: true}]}
models: {m: {}, n: {}}
routes: [{path: /x}, {path: /y, limits: [{concurrency: 1}, {rate: 5/s, name: gentle}]}]
"""


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, CONFIG)


def keys(exchange: Exchange) -> list[str]:
    ((_, charge),) = exchange.notes.values()
    return [limit.key for limit in charge.account.limits]


def who(consumer: str = "acme", tier: str = "every", **fields: Any) -> Credential:
    return Credential(fields.pop("id", "k1"), consumer, tier, **fields)


def test_counters_of_one_consumer_share_their_braces(shop: Shop) -> None:
    exchange = shop.enter(
        who=who(project="p"), body={"model": "m"}, x_session_id="s", x_team="red", peer="2001:db8::1"
    )  # fmt: skip
    assert keys(exchange) == [
        "{consumer:acme}:rate:every:consumer:60",
        "{consumer:acme}:credential:k1:rate:every:credential:60",
        "{project:p}:rate:every:project:60",
        "{ip:2001%3Adb8%3A%3A/64}:rate:every:ip:60",
        "{consumer:acme}:session:s:rate:every:session:60",
        "{header%3Ax-team:red}:rate:every:header%3Ax-team:60",
        "{model:m}:rate:every:model:60",
        "{route:/x}:rate:every:route:60",
        "{consumer:acme}:model:m:rate:every:=pair",
        "{consumer:acme}:project:p:session:s:rate:every:project+session:60",
    ]


def test_what_a_request_lacks_is_left_out(shop: Shop) -> None:
    exchange = shop.enter(who=who())
    subjects = [key.partition(":rate")[0] for key in keys(exchange)]
    assert subjects == [
        "{consumer:acme}", "{consumer:acme}:credential:k1", "{consumer:acme}", "{ip:10.0.0.1}", "{consumer:acme}",
        "{consumer:acme}", "{consumer:acme}", "{route:/x}", "{consumer:acme}", "{consumer:acme}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [
        ({"who": who()}, {"who": who()}, "{consumer:acme}"),
        ({"who": who(id="k1")}, {"who": who(id="k2")}, ""),
        ({"who": who(id="k1")}, {"who": who("other", id="k1")}, ""),
        ({"who": who("a", project="p")}, {"who": who("b", project="p")}, "{project:p}"),
        (
            {"who": who("a"), "x_session_id": "s"},
            {"who": who("b"), "x_session_id": "s"},
            "",
        ),  # a session is its caller's
    ],
)
def test_who_shares_what(shop: Shop, first: dict[str, Any], second: dict[str, Any], shared: str) -> None:
    both = set(keys(shop.enter(**first))) & set(keys(shop.enter(**second)))
    assert not shared or any(key.startswith(shared) for key in both)
    own = [key for key in both if "credential" in key or "session:s" in key]
    assert own == [] or first == second


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a", "a"),
        ("a}b{c", "a%7Db%7Bc"),
        ("a:b", "a%3Ab"),
        ("a\nb\0", "a%0Ab%00"),
        ("50%", "50%25"),
        ("größe", "größe"),
    ],
)
def test_names_cannot_forge_keys(value: str, text: str) -> None:
    assert escape(value) == text


def test_long_names_are_hashed() -> None:
    first, second = (
        name_subject(("consumer",), {"consumer": "x" * 200 + end}, ("consumer", "x" * 200 + end)) for end in "ab"
    )
    assert first != second and len(first) < 60


def test_a_route_has_limits_of_its_own(shop: Shop) -> None:
    exchange = shop.enter(route="/y")
    error = shop.refused(route="/y", tier="big")
    assert (error.number, error.details["rule"], error.details["by"]) == (1504, "route:/y:concurrency", "route")
    shop.leave(exchange)
    assert lines_of(shop.enter(route="/y", tier="big"))["RateLimit-Policy"] == '"big";q=1000;w=60, "gentle";q=5;w=1'


def test_a_route_without_a_tier_has_them_too(tmp_path: Path) -> None:
    shop = Shop(tmp_path, CONFIG)
    shop.enter("", route="/y")
    assert shop.refused(tier="", route="/y").number == 1504


@pytest.mark.parametrize(("hours", "tier"), [(1, "big"), (23, "big"), (25, "free")])
def test_an_override_lasts_until_its_end(shop: Shop, hours: int, tier: str) -> None:
    until = shop.site.wall_us / 1e6 + 24 * 3600
    shop.site.advance(hours * 3600 * SECOND)
    exchange = shop.enter(who=who(tier="free", override_tier="big", override_until=until))
    assert (exchange.tier, lines_of(exchange)["X-Quota-Tier"]) == (tier, tier)


@pytest.mark.parametrize(("override", "tier"), [("big", "big"), ("gone", "free"), ("", "free")])
def test_an_override_without_an_end(shop: Shop, override: str, tier: str) -> None:
    assert shop.enter(who=who(tier="free", override_tier=override)).tier == tier


def test_a_tier_in_shadow_refuses_nobody_and_tells_nothing(shop: Shop) -> None:
    for _ in range(5):
        exchange = shop.enter("dark")
        assert lines_of(exchange) == {"X-Quota-Tier": "dark"}
    assert shop.counted == [("tier:dark:month", "shadow")] + 3 * [
        ("tier:dark:rate", "shadow"), ("tier:dark:month", "shadow")
    ]  # fmt: skip
    assert exchange.charges == () and exchange.month == ("", "2026-11"), "what did not fit was not charged"


def test_one_limit_in_shadow(shop: Shop) -> None:
    first, second = (shop.enter(who=who(tier="half", project="p")) for _ in range(2))
    assert first.charges == (("{project:p}:month:half:project", "units", 1000),) and second.charges == ()
    assert shop.counted == [("tier:half:month:project", "shadow")]
    shop.leave(second, Outcome.NOT_REACHED)
    shop.leave(first, Outcome.NOT_REACHED)
    assert shop.site.used_in("{project:p}:month:half:project", "2026-11") == 0


def test_a_month_that_is_nearly_used_up_is_told_once(shop: Shop) -> None:
    for _ in range(79):
        shop.enter("month")
    assert shop.told == []
    for _ in range(21):
        shop.enter("month")
    for _ in range(3):
        shop.refused(tier="month")
    assert [(event, key) for event, key, _ in shop.told] == [
        ("quota.threshold", "{consumer:acme}:month:2026-11:80"),
        ("quota.threshold", "{consumer:acme}:month:2026-11:100"),
    ]  # fmt: skip
    assert shop.told[0][2] == {
        "consumer": "acme", "tier": "month", "period": "2026-11", "threshold": 80, "rule": "tier:month:month",
        "unit": "requests", "limit": 100, "used": 80, "remaining": 20, "reset": 1_796_083_200,
    }  # fmt: skip
    assert shop.gauges == {("quota_used_ratio", "month"): 1.0}


def test_what_the_caller_is_told_of_himself(shop: Shop) -> None:
    shop.enter(who=who())
    limits = shop.limits(who=who())
    assert limits["tier:every:rate"] == {
        "rule": "tier:every:rate", "unit": "requests", "limit": 150, "used": 1, "remaining": 149,
        "reset": shop.site.wall_us // SECOND + 1,
    }  # fmt: skip
    assert limits.keys() == {
        "tier:every:rate",
        "tier:every:rate:credential",
        "tier:every:rate:ip",
        "tier:every:rate:route",
    }
    assert shop.limits(tier="") == {}

"""Tokens and money: reserved high, settled to what was used, refused with the truth."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Outcome
from tests.plugins.shop import SECOND, Shop, lines_of

CONFIG = """
tiers:
  rate: {tokens: 6000/min, reserve: 500}
  month: {monthly_tokens: 10_000}
  money: {budget: 1 USD/month, reserve: 100}
  all: {rate: 100/min, monthly: 50, tokens: 60_000/min, monthly_tokens: 100_000, concurrency: 3, budget: 5 USD/month}
  plain: {rate: 100/min}
models:
  m: {price: {input: 1, output: 10, cached: 0.5}, max_tokens: 1000}
  free: {}
  limited: {limits: [{tokens: 3000/min}, {concurrency: 1, by: consumer}]}
"""
PROMPT = {"model": "free", "messages": "x" * 98}  # 100 bytes with its quotes: 50 tokens


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path, CONFIG)


def ask(model: str = "free", **fields: Any) -> dict[str, Any]:
    return {**PROMPT, "model": model, **fields}


def reserved(shop: Shop, body: dict[str, Any], tier: str = "rate") -> int:
    """Tokens that a request reserves."""
    exchange = shop.enter(tier, body=body)
    (charge,) = [note[1] for note in exchange.notes.values()]
    return int(charge.cost[0]) // 1000


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        (ask(), 550),  # nobody bounds the answer: the tier's reserve
        (ask(max_tokens=200), 250),
        (ask(max_completion_tokens=300), 350),
        (ask(max_tokens=200, max_completion_tokens=300), 350),  # engines differ in which one they take
        (ask(max_tokens=200, n=3), 650),
        (ask(max_tokens=None), 550),
        (ask("m"), 1050),  # the model's
        (ask("m", max_tokens=200), 250),
        (ask("m", max_tokens=5000), 1050),
        ({"model": "free", "prompt": "x" * 98}, 550),
        ({"model": "free", "input": "x" * 98}, 50),  # embeddings answer without tokens
        ({"model": "free", "input": ["x" * 46, "y" * 46]}, 50),
        ({"model": "free", "messages": [{"url": f"data:image/png;base64,{'A' * 100_000}"}], "max_tokens": 1}, 2007),
    ],
)
def test_what_is_reserved(shop: Shop, body: dict[str, Any], tokens: int) -> None:
    assert reserved(shop, body) == tokens


@pytest.mark.parametrize(
    ("asked", "sent"),
    [({}, {"max_tokens": 1000}), ({"max_tokens": 999}, {"max_tokens": 999}),
     ({"max_tokens": 1001}, {"max_tokens": 1000}),
     ({"max_completion_tokens": 5000}, {"max_completion_tokens": 1000}),
     ({"max_tokens": 5000, "max_completion_tokens": 7}, {"max_tokens": 1000, "max_completion_tokens": 7})],
)  # fmt: skip
def test_the_body_is_made_to_keep_the_models_bound(shop: Shop, asked: dict[str, int], sent: dict[str, int]) -> None:
    exchange = shop.enter("rate", body=ask("m", **asked))
    assert exchange.fields is not None
    assert {name: json.loads(bytes(raw)) for name, raw in exchange.fields.items() if name.startswith("max")} == sent


def test_where_no_tokens_count_the_body_is_left_alone(shop: Shop) -> None:
    exchange = shop.enter("plain", body=ask("m"))
    assert exchange.fields is not None and "max_tokens" not in exchange.fields


@pytest.mark.parametrize("value", ["many", -1, 1.5, True, [1]])
def test_a_bound_that_is_no_number(shop: Shop, value: Any) -> None:
    error = shop.refused(tier="rate", body=ask(max_tokens=value))
    assert (error.number, error.param) == (1214, "max_tokens")


@pytest.mark.parametrize("outcome", list(Outcome))
def test_tokens_are_settled_to_what_was_used(shop: Shop, outcome: Outcome) -> None:
    exchange = shop.enter("month", body=ask(max_tokens=950))
    shop.leave(exchange, outcome, prompt=20, completion=30)
    used = 50 if outcome.keeps_units else 0
    assert shop.limits(tier="month")["tier:month:monthly_tokens"]["used"] == used


def test_an_overrun_is_debt(shop: Shop) -> None:
    """Reserved 550 of a burst of 9,000, used 12,000: 3,000 too many, at a hundred a second."""
    shop.leave(shop.enter("rate", body=ask()), prompt=2000, completion=10_000)
    error = shop.refused(tier="rate", body=ask())
    assert error.number == 1505 and int(error.headers["Retry-After"]) == 36
    shop.site.advance(36 * SECOND)
    shop.enter("rate", body=ask())


def test_a_rate_of_tokens_refuses_and_says_so(shop: Shop) -> None:
    for _ in range(2):
        shop.enter("rate", body=ask(max_tokens=3950))
    error = shop.refused(tier="rate", body=ask(max_tokens=3950))
    assert (error.number, error.entry.code, error.headers["x-should-retry"]) == (1505, "token_rate_exceeded", "true")
    assert error.message.startswith("Tier rate allows 6000 tokens per minute; 8000 were used. A shorter prompt")
    assert error.details["rule"] == shop.last.rule == "tier:rate:tokens"
    told = lines_of(shop.last)
    assert (told["x-ratelimit-limit-tokens"], told["x-ratelimit-remaining-tokens"]) == ("9000", "1000")
    assert told["RateLimit-Policy"] == '"rate-tokens";q=6000;w=60'


def test_what_can_never_fit(shop: Shop) -> None:
    error = shop.refused(tier="rate", body=ask(max_tokens=20_000))
    assert (error.number, error.status, error.headers["x-should-retry"]) == (1503, 400, "false")
    assert error.message.startswith("The request costs 20050 tokens; tier rate allows 9000 at once. Send a shorter")


@pytest.mark.parametrize(
    ("tier", "body"),
    [("rate", ask(max_tokens=10**30)), ("month", ask(max_tokens=2**62, n=2**62)), ("money", ask("m", n=2**63)),
     ("all", ask("m", best_of=10**30))],
)  # fmt: skip
def test_figures_beyond_all_measure(shop: Shop, tier: str, body: dict[str, Any]) -> None:
    assert shop.refused(tier=tier, body=body).number == 1503


def test_a_month_of_tokens(shop: Shop) -> None:
    shop.enter("month", body=ask(max_tokens=9000))
    error = shop.refused(tier="month", body=ask(max_tokens=1000))
    assert (error.number, error.headers["x-should-retry"]) == (1506, "false")
    assert "allows 10000 tokens a month; 9050 were used." in error.message
    shop.enter("month", body=ask(max_tokens=100))


def test_money_is_reserved_by_price_and_settled(shop: Shop) -> None:
    exchange = shop.enter("money", body=ask("m", max_tokens=1000))
    assert exchange.charges == (("{consumer:acme}:money", "money", 50 * 1000 + 1000 * 10_000),)
    shop.leave(exchange, prompt=10, completion=7)
    assert shop.site.used_in("{consumer:acme}:money", "2026-11") == 10 * 1000 + 7 * 10_000
    limit = shop.limits(tier="money")["tier:money:budget"]
    assert (limit["limit"], limit["used"], limit["unit"]) == (1.0, 0.00008, "USD")


def test_a_budget_refuses_what_it_could_not_pay(shop: Shop) -> None:
    for _ in range(99):
        shop.enter("money", body=ask("m"))
    error = shop.refused(tier="money", body=ask("m"))
    assert (error.number, error.entry.code, error.headers["x-should-retry"]) == (1507, "insufficient_quota", "false")
    assert error.message.startswith("Tier money allows 1 USD a month; 0.99495 USD were used. A smaller max_tokens")
    shop.enter("money", body=ask("m", max_tokens=1))


def test_a_model_without_a_price_costs_no_money(shop: Shop) -> None:
    exchange = shop.enter("money", body=ask("free"))
    shop.leave(exchange, prompt=10, completion=10)
    assert exchange.money is None and shop.limits(tier="money")["tier:money:budget"]["used"] == 0


def test_all_or_nothing(shop: Shop) -> None:
    """Three at once are allowed: a fourth is charged to no other limit either."""
    held = [shop.enter("all", body=ask("m")) for _ in range(3)]
    before = shop.limits(tier="all")
    error = shop.refused(tier="all", body=ask("m"))
    assert (error.number, error.details["rule"], error.details["reset"]) == (1504, "tier:all:concurrency", None)
    assert "allows 3 requests at once; 3 are used." in error.message
    assert shop.limits(tier="all") == before
    for exchange in held:
        shop.leave(exchange, Outcome.NOT_REACHED)
    after = {rule: limit["used"] for rule, limit in shop.limits(tier="all").items()}
    assert set(after.values()) == {0}, "everything that was reserved came back"


def test_what_the_journal_is_told(shop: Shop) -> None:
    exchange = shop.enter("all", body=ask("m"))
    assert exchange.month == ("{consumer:acme}:month", "2026-11")
    assert {(key, unit) for key, unit, _ in exchange.charges} == {
        ("{consumer:acme}:tokens-month", "tokens"), ("{consumer:acme}:money", "money"),
    }  # fmt: skip


def test_a_models_own_limits_hold_for_all_callers(shop: Shop) -> None:
    exchange = shop.enter("plain", body=ask("limited", max_tokens=2000))
    error = shop.refused(tier="rate", body=ask("limited", max_tokens=2500))
    assert (error.number, error.details["rule"]) == (1505, "model:limited:tokens")
    assert error.message.startswith("The limit model:limited:tokens allows 3000 tokens per minute; 2050 were used.")
    assert shop.refused(tier="plain", body=ask("limited", max_tokens=1)).details["rule"] == (
        "model:limited:concurrency:consumer"
    )
    shop.leave(exchange, prompt=1, completion=1)
    shop.enter("plain", body=ask("limited", max_tokens=2500))


def test_money_that_can_never_be(shop: Shop) -> None:
    error = shop.refused(tier="money", body=ask("m", n=2000))
    assert error.number == 1503 and "costs 20.0001 USD; tier money allows 1 USD a month." in error.message

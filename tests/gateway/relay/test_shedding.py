"""Who is refused when a worker falls behind."""

import pytest

from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.http.head import read_head
from gateway.priority import PRIORITIES
from gateway.relay.shedding import Shedding
from gateway.settings.schema import Tier
from gateway.settings.units import Seconds

TIERS = {name: Tier(priority=name) for name in PRIORITIES}
MANY, FEW = range(100), range(10)


def shed(shedding: Shedding) -> list[str]:
    """The classes that are refused now, as requests meet it."""
    refused = []
    for tier in TIERS:
        head = read_head(b"POST", b"/v1/x", "1.1", [(b"host", b"a")])
        exchange = Exchange("rid", head, head.method, head.path, 0.0)
        exchange.tier = tier
        try:
            shedding.check(exchange)
        except GatewayError as error:
            assert (error.number, error.status, error.details["class"]) == (1904, 503, tier)
            assert error.body("rid"), "it can be told"
            assert 1 <= int(error.headers["Retry-After"]) <= 10
            refused.append(tier)
    return refused


def run(shedding: Shedding, lag: float, ticks: int = 50) -> float:
    return [shedding.notice(lag) for _ in range(ticks)][-1]


@pytest.mark.parametrize(
    ("lag", "refused"),
    [(0, []), (0.09, []), (0.15, ["low"]), (0.3, ["normal", "low"]), (0.5, ["high", "normal", "low"]),
     (5, ["high", "normal", "low"])],
)  # fmt: skip
def test_the_lower_the_class_the_sooner(lag: float, refused: list[str]) -> None:
    shedding = Shedding(Seconds(0.1), TIERS, MANY)
    assert run(shedding, lag) == pytest.approx(lag, abs=1e-3)
    assert shed(shedding) == refused


def test_it_ends_when_the_loop_is_in_time_again() -> None:
    shedding = Shedding(0.1, TIERS, MANY)
    run(shedding, 0.3)
    run(shedding, 0.0, ticks=4)
    assert shed(shedding) == []


def test_one_late_tick_is_no_overload() -> None:
    shedding = Shedding(0.1, TIERS, MANY)
    run(shedding, 0.0)
    shedding.notice(0.3)
    assert shed(shedding) == []


def test_few_requests_are_not_the_reason() -> None:
    shedding = Shedding(0.1, TIERS, FEW)
    run(shedding, 2.0)
    assert shed(shedding) == []


def test_never() -> None:
    shedding = Shedding(0.0, TIERS, MANY)
    run(shedding, 2.0)
    assert shed(shedding) == []

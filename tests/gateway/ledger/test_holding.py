"""How much a wallet asks for beyond the cost, second by second."""

from gateway.ledger.account import Account
from gateway.ledger.holding import Holding
from gateway.ledger.limit import Rate


def test_demand_is_what_was_spent_in_this_second_or_the_one_before() -> None:
    holding = Holding(Account((Rate("r", 1, 1, 1),)), 10.0)
    assert holding.demand(10.0) == 0
    holding.count(5000, 10.1)
    assert holding.demand(10.2) == 5000
    holding.count(1000, 11.2)
    assert holding.demand(11.3) == 5000, "a new second began at 11.2"
    holding.count(7000, 11.4)
    assert holding.demand(11.5) == 8000
    assert holding.demand(13.3) == 0, "a whole second passed without spending"

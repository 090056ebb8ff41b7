"""What tokens cost, to the nano-USD."""

import pytest

from gateway.price import compile_price, parse_rates, price_tokens
from gateway.settings.schema import Price


@pytest.mark.parametrize(
    ("price", "tokens", "nano"),
    [
        (Price(input=0.15, output=0.6), (1_000_000, 1_000_000), 750_000_000),
        (Price(input=0.15, output=0.6, cached=0.07), (10, 0, 4), 6 * 150 + 4 * 70),
        (Price(input=0.15, output=0.6), (10, 0, 4), 1500),  # cached ones cost what others do
        (Price(input=1, output=1, cached=0), (5, 0, 9), 0),  # no more are cached than there are
        (Price(input=0.000001, output=0), (1, 0), 1),  # a thousandth of a nano-USD: never nothing
        (Price(input=0, output=0), (5, 5), 0),
        (Price(input=1e12, output=1e12), (2**40, 2**40), 2**62),
    ],
)
def test_a_price(price: Price, tokens: tuple[int, ...], nano: int) -> None:
    rates = compile_price(price)
    assert price_tokens(rates, *tokens) == nano
    assert parse_rates(rates.text) == rates, "a trace tells it exactly"


def test_no_price() -> None:
    assert parse_rates("") is None

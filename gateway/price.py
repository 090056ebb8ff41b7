"""What tokens cost. Money is whole nano-USD, rounded up: nothing that has a price is ever free by rounding."""

from collections.abc import Sequence

import msgspec

from gateway.settings.schema import Price

_MOST = 2**62  # what a store can hold


class Rates(msgspec.Struct, frozen=True):
    """A model's price in nano-USD for a thousand tokens. `text` is how traces tell it: USD per million tokens."""

    input: int
    output: int
    cached: int
    text: str


def compile_price(price: Price) -> Rates:
    """The figures of the configuration; exact to six decimals."""
    cached = price.input if price.cached is None else price.cached
    return _rates((price.input, price.output, cached))


def parse_rates(text: str) -> Rates | None:
    """The rates that `Rates.text` tells; None of nothing."""
    return _rates([float(part) for part in text.split("/")]) if text else None


def _rates(parts: Sequence[float]) -> Rates:
    paid, written, cached = [round(part * 1e6) for part in parts]
    return Rates(paid, written, cached, "/".join(f"{part:.9g}" for part in parts))


def price_tokens(rates: Rates, prompt: int, completion: int, cached: int = 0) -> int:
    """Nano-USD of so many tokens; `cached` are some of the `prompt`'s."""
    cached = min(cached, prompt)
    thousandths = (prompt - cached) * rates.input + cached * rates.cached + completion * rates.output
    return min(-(-thousandths // 1000), _MOST)

"""Values with a unit, as they stand in the config: `5s`, `10MB`, `100/min`. Each type parses itself."""

import re
from decimal import Decimal
from typing import Annotated, Any, Self, get_args, get_origin

import msgspec

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}
_BYTES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1024, "mib": 1024**2, "gib": 1024**3}
_PERIODS = {"s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
            "d": 86400, "day": 86400}  # fmt: skip
_PERIOD_NAMES = {1: "s", 60: "min", 3600: "h", 86400: "day"}
_NUMBER = r"(\d[\d_]*(?:\.\d+)?)"


class Seconds(float):
    """A duration in seconds, written `250ms`, `5s`, `10m`, `2h`, `1d`, or a plain number of seconds."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = re.fullmatch(_NUMBER + r"\s*(ms|s|min|m|h|d)", value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{value!r} is not a duration; write 250ms, 5s, 10m, 2h or 1d")
        return cls(float(match[1]) * _SECONDS[match[2]])

    def plain(self) -> float:
        return float(self)


class Pause(Seconds):
    """A duration that may be left to us: `true` is 5 s, `false` is 0."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        return cls(5 * value) if isinstance(value, bool) else super().parse(value)


class Bytes(int):
    """A size in bytes, written `512KB`, `10MB`, `2GB` (powers of ten), `10MiB` (powers of two), or a plain number."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(value)
        match = re.fullmatch(_NUMBER + r"\s*([kmg]i?b|b|)", value.strip().lower()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(f"{value!r} is not a size; write 512KB, 10MB, 2GB or 10MiB")
        return cls(float(match[1]) * _BYTES[match[2]])

    def plain(self) -> int:
        return int(self)


class Rate:
    """So many units per period, written `100/min`, `10/s`, `5_000/h`, or `unlimited` (count 0).

    `count` is units; `period` is the seconds of a second, a minute, an hour or a day.
    """

    __slots__ = ("count", "period")

    def __init__(self, count: int, period: int) -> None:
        self.count = count
        self.period = period

    @property
    def unlimited(self) -> bool:
        return self.count == 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rate) and (self.count, self.period) == (other.count, other.period)

    def __hash__(self) -> int:
        return hash((self.count, self.period))

    def __repr__(self) -> str:
        return "unlimited" if self.unlimited else f"{self.count}/{_PERIOD_NAMES[self.period]}"

    def plain(self) -> str:
        return repr(self)

    @classmethod
    def parse(cls, value: Any) -> Self:
        if value == "unlimited":
            return cls(0, 1)
        match = re.fullmatch(r"([1-9][\d_]*)\s*/\s*([a-z]+)", value.strip()) if isinstance(value, str) else None
        if match is None or match[2] not in _PERIODS:
            raise ValueError(f"{value!r} is not a rate; write 10/s, 100/min, 5_000/h, 50_000/day or unlimited")
        return cls(int(match[1]), _PERIODS[match[2]])


class Budget(int):
    """Money for a month in micro-USD, written `5000 USD/month` or `0.50 USD/month`."""

    @classmethod
    def parse(cls, value: Any) -> Self:
        pattern = r"(\d[\d_]*(?:\.\d{1,6})?)\s*USD\s*/\s*month"
        match = re.fullmatch(pattern, value.strip()) if isinstance(value, str) else None
        micro = int(Decimal(match[1].replace("_", "")) * 1_000_000) if match is not None else 0
        if micro <= 0:
            raise ValueError(f"{value!r} is not a budget; write 5000 USD/month or 0.50 USD/month")
        return cls(micro)

    def plain(self) -> str:
        return f"{Decimal(int(self)) / 1_000_000:f} USD/month"


Secret = Annotated[str, msgspec.Meta(extra={"secret": True})]
"""Text that nobody may read: `check` complains where it stands in the file itself."""


def is_secret(shape: Any) -> bool:
    """Whether a field of this type holds a secret, or several by their names."""
    if get_origin(shape) is dict:
        shape = get_args(shape)[1]
    return any((meta.extra or {}).get("secret", False) for meta in getattr(shape, "__metadata__", ()))

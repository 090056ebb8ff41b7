import pytest

from gateway.settings.units import Bytes, Rate, Seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("250ms", 0.25), ("5s", 5), ("10m", 600), ("2h", 7200), ("1d", 86400), ("1.5 s", 1.5), (3, 3)]
)
def test_durations(text: str, seconds: float) -> None:
    assert Seconds.parse(text) == seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [("512KB", 512_000), ("10MB", 10**7), ("10MiB", 10 * 2**20), ("2gb", 2 * 10**9), (77, 77), ("1_000", 1000)],
)
def test_sizes(text: str, count: int) -> None:
    assert Bytes.parse(text) == count


@pytest.mark.parametrize(
    ("text", "rate"),
    [("10/s", Rate(10, 1)), ("100/min", Rate(100, 60)), ("5_000/h", Rate(5000, 3600)), ("9/day", Rate(9, 86400))],
)
def test_rates(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate
    assert Rate.parse(rate.plain()) == rate


def test_unlimited() -> None:
    rate = Rate.parse("unlimited")
    assert rate.unlimited
    assert Rate.parse(rate.plain()) == rate


@pytest.mark.parametrize("text", ["", "5", "5 fortnights", "-1s", "s", None, True, [], -1, "5s5s"])
def test_durations_that_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        Seconds.parse(text)


@pytest.mark.parametrize("text", ["", "5 stone", "-1MB", None, True, 1.5])
def test_sizes_that_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        Bytes.parse(text)


@pytest.mark.parametrize("text", ["", "0/s", "-5/s", "5", 5, "5/fortnight", "1.5/s", "Unlimited", None])
def test_rates_that_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        Rate.parse(text)

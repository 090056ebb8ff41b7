from datetime import UTC, datetime

import pytest

from gateway.control.analytics.window import HOURS_KEPT, Bucket, Window, find_bucket, find_previous, plan_window


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


NOW = at("2026-11-21T13:37:00")


def told(window: Window) -> list[tuple[str, str, str]]:
    def show(moment: int) -> str:
        return datetime.fromtimestamp(moment // 1_000_000, UTC).strftime("%m-%dT%H:%M")

    return [(span.grain, show(span.begin), show(span.end)) for span in window.spans]


def test_a_window_is_whole_days_between_hours() -> None:
    window = plan_window(at("2026-11-14T13:37:00"), NOW, None, NOW)
    assert told(window) == [
        ("hour", "11-14T13:00", "11-15T00:00"), ("day", "11-15T00:00", "11-21T00:00"),
        ("hour", "11-21T00:00", "11-21T14:00"),
    ]  # fmt: skip
    assert (window.begin, window.end) == (at("2026-11-14T13:00:00"), at("2026-11-21T14:00:00"))
    assert window.seconds == 7 * 86_400 + 37 * 60


@pytest.mark.parametrize(
    ("begin", "end", "bucket", "expected"),
    [
        ("2026-11-21T12:10", "2026-11-21T13:37", None, [("hour", "11-21T12:00", "11-21T14:00")]),
        ("2026-11-20T00:00", "2026-11-21T00:00", None, [("day", "11-20T00:00", "11-21T00:00")]),
        ("2026-11-20T10:00", "2026-11-21T10:00", "hour", [("hour", "11-20T10:00", "11-21T10:00")]),
        ("2026-11-20T10:00", "2026-11-21T10:00", "day", [("day", "11-20T00:00", "11-22T00:00")]),
        ("2026-10-22T13:37", "2026-11-21T13:37", None, [("day", "10-22T00:00", "11-21T00:00"),
                                                        ("hour", "11-21T00:00", "11-21T14:00")]),
        ("2026-10-01T05:00", "2026-10-01T06:00", None, [("day", "10-01T00:00", "10-02T00:00")]),
        ("2026-11-20T23:30", "2026-11-21T00:30", None, [("hour", "11-20T23:00", "11-21T00:00"),
                                                        ("hour", "11-21T00:00", "11-21T01:00")]),
    ],
)  # fmt: skip
def test_windows(begin: str, end: str, bucket: Bucket | None, expected: list[tuple[str, str, str]]) -> None:
    assert told(plan_window(at(begin), at(end), bucket, NOW)) == expected


@pytest.mark.parametrize("hours", [1, 5, 24, 100, 14 * 24, 20 * 24, 60 * 24])
@pytest.mark.parametrize("bucket", [None, "day"])
def test_spans_cover_the_window_without_a_gap(hours: int, bucket: Bucket | None) -> None:
    window = plan_window(NOW - hours * 3_600_000_000, NOW, bucket, NOW)
    edges = [window.begin, *[span.end for span in window.spans]]
    assert [span.begin for span in window.spans] == edges[:-1] and edges[-1] == window.end
    assert window.begin <= NOW - hours * 3_600_000_000 < NOW <= window.end


@pytest.mark.parametrize(
    ("begin", "end", "bucket"),
    [
        (NOW, NOW, None),
        (NOW, NOW - 1, "day"),
        (NOW - HOURS_KEPT - 7_200_000_000, NOW, "hour"),
        (0, NOW, "month"),
    ],
)
def test_what_is_refused(begin: int, end: int, bucket: Bucket | None) -> None:
    with pytest.raises(ValueError, match=r"time ends|hours are known|at most"):
        plan_window(begin, end, bucket, NOW)


@pytest.mark.parametrize("bucket", [None, "hour", "day"])
def test_the_time_before_ends_where_the_window_begins(bucket: Bucket | None) -> None:
    window = plan_window(NOW - 7 * 86_400_000_000, NOW, bucket, NOW)
    previous = find_previous(window, bucket, NOW)
    assert previous.end == window.begin and window.begin - previous.begin == window.end - window.begin


def test_weeks_and_months_are_not_compared() -> None:
    with pytest.raises(ValueError, match="by the month"):
        find_previous(plan_window(NOW - 1, NOW, "month", NOW), "month", NOW)


@pytest.mark.parametrize(
    ("bucket", "expected"),
    [("hour", "2026-11-21T13:00"), ("day", "2026-11-21"), ("week", "2026-11-16"), ("month", "2026-11-01")],
)
def test_buckets(bucket: Bucket, expected: str) -> None:
    assert find_bucket(NOW, bucket) == at(expected)

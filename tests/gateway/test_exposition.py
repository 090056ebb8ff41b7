import math
import re
from pathlib import Path

from prometheus_client import Metric as Family
from prometheus_client.parser import text_string_to_metric_families

from gateway.exposition import Fold, describe_metrics
from gateway.metrics import METRICS, OTHER, SERIES, Board, make_board_file

README = Path(__file__).parents[2] / "monitoring" / "README.md"
REQUESTS = ("requests_total", "/v1/models", "qwen", "free", "2xx")


def families(fold: Fold) -> dict[str, Family]:
    return {family.name: family for family in text_string_to_metric_families(fold.exposition().decode())}


def value(fold: Fold, name: str, **labels: str) -> float | None:
    for family in families(fold).values():
        for sample in family.samples:
            if sample.name == f"tollkeeper_{name}" and sample.labels == labels:
                return float(sample.value)
    return None


def adopt(fold: Fold, name: str) -> Board:
    file = make_board_file()
    board = Board(file)
    fold.adopt(name, file)
    return board


def test_boards_are_summed() -> None:
    fold = Fold()
    for board in (adopt(fold, "w1"), adopt(fold, "w2"), fold.own):
        board.add(board.index(*REQUESTS), 2)
    labels = {"route": "/v1/models", "model": "qwen", "tier": "free", "status": "2xx"}
    assert value(fold, "requests_total", **labels) == 6


def test_totals_outlive_a_worker_and_its_gauges_do_not() -> None:
    fold = Fold()
    for number in range(20):
        board = adopt(fold, f"w{number}")
        board.add(board.index("worker_restarts_total"))
        board.add(board.index("inflight", "qwen"))
        board.observe(board.index("overhead_seconds"), 0.00007)
        fold.retire(f"w{number}")
    assert value(fold, "worker_restarts_total") == 20
    assert value(fold, "inflight", backend="qwen") is None
    assert value(fold, "overhead_seconds_count") == 20
    assert value(fold, "overhead_seconds_bucket", le="5e-05") == 0
    assert value(fold, "overhead_seconds_bucket", le="0.0001") == 20


def test_histograms_are_cumulative_and_end_in_infinity() -> None:
    fold = Fold()
    index = fold.own.index("first_token_seconds", "qwen")
    for seconds in (0.001, 0.02, 0.02, 1000.0):
        fold.own.observe(index, seconds)
    samples = [
        (float(sample.labels["le"]), sample.value)
        for sample in families(fold)["tollkeeper_first_token_seconds"].samples
        if sample.name.endswith("_bucket")
    ]
    assert [bound for bound, _ in samples] == sorted(bound for bound, _ in samples)
    assert samples[-1] == (math.inf, 4)
    assert dict(samples)[0.025] == 3
    assert value(fold, "first_token_seconds_sum", model="qwen") == 1000.041


def test_gauges_are_asked_each_time() -> None:
    fold = Fold()
    readings = [(("qwen", "http://a"), 1.0)]
    fold.gauge("endpoint_up", lambda: readings)
    assert value(fold, "endpoint_up", backend="qwen", endpoint="http://a") == 1
    readings[0] = (("qwen", "http://a"), 0.0)
    assert value(fold, "endpoint_up", backend="qwen", endpoint="http://a") == 0


def test_odd_label_values_keep_the_format() -> None:
    fold = Fold()
    odd = 'a"b\\c\nd é\u2028}'
    fold.own.add(fold.own.index("rejected_total", odd, "x"))
    assert value(fold, "rejected_total", rule=odd, reason="x") == 1


def test_the_base_is_bounded_over_many_workers() -> None:
    fold = Fold()
    for number in range(3):
        board = adopt(fold, f"w{number}")
        for series in range(SERIES // 2):
            board.add(board.index("rejected_total", f"{number}-{series}", "x"))
        fold.retire(f"w{number}")
    samples = families(fold)["tollkeeper_rejected"].samples
    assert len(samples) == SERIES + 1
    assert sum(sample.value for sample in samples) == 3 * (SERIES // 2)
    assert value(fold, "rejected_total", rule=OTHER, reason=OTHER) == SERIES // 2


def test_every_definition_is_exposed_with_its_help() -> None:
    text = Fold().exposition().decode()
    for metric in METRICS:
        assert f"# HELP tollkeeper_{metric.name} {metric.help}\n" in text
        assert f"# TYPE tollkeeper_{metric.name} {metric.kind}\n" in text


def test_the_readme_lists_them() -> None:
    match = re.search(r"<!-- metrics -->\n(.*)<!-- end -->", README.read_text(), re.DOTALL)
    assert match is not None
    assert match[1] == describe_metrics(), "run: python -m gateway.exposition"

import os
import signal
import subprocess
import sys

import pytest

from gateway.metrics import BY_NAME, METRICS, OTHER, SERIES, Board, Reader, make_board_file

REQUESTS = ("requests_total", "/v1/models", "qwen", "free", "2xx")


def make_board() -> tuple[Board, Reader]:
    file = make_board_file()
    return Board(file), Reader(file)


def test_definitions_are_named_once_and_well() -> None:
    assert len(BY_NAME) == len(METRICS)
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert bool(metric.buckets) == (metric.kind == "histogram")
        assert list(metric.buckets) == sorted(metric.buckets)


def test_what_is_counted_is_read() -> None:
    board, reader = make_board()
    index = board.index(*REQUESTS)
    board.add(index)
    board.add(index, 2)
    assert board.index(*REQUESTS) == index
    assert reader.read() == {REQUESTS: [3.0]}


def test_an_observation_falls_into_the_first_bucket_that_holds_it() -> None:
    board, reader = make_board()
    index = board.index("queue_seconds", "qwen", "normal")
    for value in (0.0, 0.005, 0.0051, 300.0, 301.0):
        board.observe(index, value)
    slots = reader.read()["queue_seconds", "qwen", "normal"]
    assert slots[0] == 2  # a bound belongs to its bucket
    assert slots[1] == 1
    assert slots[-3:] == [1, 1, pytest.approx(601.0101)]


def test_wrong_labels_are_refused() -> None:
    board, _ = make_board()
    with pytest.raises(ValueError, match="requests_total"):
        board.index("requests_total", "only one")
    with pytest.raises(KeyError):
        board.index("no_such_total")


def test_series_of_one_metric_are_bounded() -> None:
    board, reader = make_board()
    indexes = {board.index("tokens_total", f"model{number}", "free", "prompt") for number in range(SERIES + 500)}
    assert len(indexes) == SERIES + 1
    board.add(board.index("tokens_total", "one more", "free", "prompt"))
    assert reader.read()["tokens_total", OTHER, OTHER, OTHER] == [1.0]


def test_a_full_board_still_counts_every_metric() -> None:
    board, reader = make_board()
    for metric in METRICS:
        for number in range(SERIES if metric.labels else 1):
            board.index(metric.name, *(f"{number}{'x' * 500}" for _ in metric.labels))
    for metric in METRICS:
        index = board.index(metric.name, *("new" for _ in metric.labels))
        if metric.kind == "histogram":
            board.observe(index, 1.0)
        else:
            board.add(index, 1.0)
    series = reader.read()
    for metric in METRICS:
        assert sum(series[metric.name, *(OTHER for _ in metric.labels)]) >= 1.0, metric.name


def test_a_board_outlives_its_process_whenever_that_dies() -> None:
    code = (
        "import sys\nfrom gateway.metrics import Board\nboard = Board(int(sys.argv[1]))\n"
        "print(flush=True)\nnumber = 0\n"
        "while True:\n"
        "    board.add(board.index('inflight', f'backend{number % 900}'), 1.0)\n    number += 1\n"
    )
    file = make_board_file()
    process = subprocess.Popen([sys.executable, "-c", code, str(file)], pass_fds=[file], stdout=subprocess.PIPE)
    reader = Reader(file)
    assert process.stdout is not None
    process.stdout.readline()
    while len(reader.read()) < 50:  # read while it is written
        pass
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    series = reader.read()
    assert series == reader.read()
    numbers = [int(name.removeprefix("backend")) for _, name in series]
    assert numbers == list(range(len(numbers)))
    assert min(slots[0] for slots in list(series.values())[:-1]) >= 1.0

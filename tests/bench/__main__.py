"""Measure Tollkeeper against nginx and Envoy on this machine: `python -m tests.bench --rows 1,4 --seconds 5`."""

import argparse
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from tests.bench import admission, flow, ingest, micro, peers, process, report, throughput
from tests.bench.figure import Figure, Options

_RUNS: dict[Callable[[Options], list[Figure]], tuple[int, ...]] = {
    throughput.compare: (1, 2, 3, 8, 10),
    flow.relay_streams: (4,),
    throughput.grow: (5,),
    flow.add_latency: (6,),
    throughput.scale: (7,),
    micro.time_parts: (8, 10),
    ingest.take_in: (10,),
    process.grow_old: (11,),
    process.start_up: (12,),
    flow.hold_streams: (13,),
    admission.queue: (14,),
    admission.admit: (14,),
}
_ALL = sorted({row for rows in _RUNS.values() for row in rows})


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rows", default=",".join(map(str, _ALL)), help="which rows, by number")
    parser.add_argument("--seconds", type=float, default=5, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="how often A and B take turns")
    arguments = parser.parse_args()
    for sentence in peers.install():
        print(sentence, file=sys.stderr)
    wanted = {int(row) for row in arguments.rows.split(",")}
    options = Options(arguments.seconds, arguments.rounds)
    figures: list[Figure] = []
    for run, rows in _RUNS.items():
        if wanted & set(rows):
            print(f"rows {', '.join(map(str, rows))}: {run.__name__} …", file=sys.stderr, flush=True)
            figures += _attempt(run, options)
    results = report.merge(figures, datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    report.write(results)
    print(report.table(report.Results(results.machine, results.when, figures)))
    return 0


def _attempt(run: Callable[[Options], list[Figure]], options: Options) -> list[Figure]:
    """The figures, or none and a sentence: a missing peer does not end the rest."""
    try:
        return run(options)
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        print(f"  left out: {error}", file=sys.stderr)
        return []


if __name__ == "__main__":
    sys.exit(main())

"""Row 14: what a slot costs. The same server as an engine of ours, and as one that somebody else runs: the difference,
in the worker and the supervisor, is two messages, the queue, and all that comes with them.
"""

from collections.abc import Callable
from contextlib import ExitStack

from tests.bench.figure import Figure, Options, alternate, medians
from tests.bench.gateway import Shape, tollkeeper
from tests.bench.peers import static_upstream
from tests.bench.throughput import measure

_MANY, _FEW = 256, 8  # slots; 32 requests at once


def queue(options: Options) -> list[Figure]:
    """Where a slot is free, where three of four requests wait for one, and where each request is alone."""
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        without = stack.enter_context(tollkeeper("unslotted", upstream))
        free = stack.enter_context(tollkeeper("slotted", upstream, Shape(slots=_MANY)))
        crowded = stack.enter_context(tollkeeper("crowded", upstream, Shape(slots=_FEW)))
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            "without": lambda: measure(without, options.seconds),
            "a slot that is free": lambda: measure(free, options.seconds),
            "a slot that is waited for": lambda: measure(crowded, options.seconds),
            "without, alone": lambda: measure(without, options.seconds, links=1),
            "a slot that is free, one request at a time": lambda: measure(free, options.seconds, links=1),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    figures = []
    for what, run in runs.items():
        if what.startswith("a slot"):
            base = runs["without, alone" if "one" in what else "without"]
            more = sum(run[role] - base[role] for role in ("worker", "supervisor"))
            figures.append(Figure(14, f"{what}: worker and supervisor", more, "us", target="<= 60 us"))
    return figures

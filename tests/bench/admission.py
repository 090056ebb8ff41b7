"""Row 14: what a slot costs. The same server as an engine of ours, and as one that somebody else runs: the difference,
in the worker and the supervisor, is two messages, the queue, and all that comes with them.
"""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from tests.bench.figure import Figure, Options, alternate, medians
from tests.bench.gateway import Shape, tollkeeper
from tests.bench.peers import static_upstream
from tests.bench.throughput import measure

_MANY, _FEW = 256, 8  # slots


def queue(options: Options) -> list[Figure]:
    """Where a slot is free, where each request is alone, and where three of four requests wait for one.

    The last is compared with as many requests at once as there are slots: more would be worked on together.
    """
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        without = stack.enter_context(tollkeeper("unslotted", upstream))
        free = stack.enter_context(tollkeeper("slotted", upstream, Shape(slots=_MANY)))
        crowded = stack.enter_context(tollkeeper("crowded", upstream, Shape(slots=_FEW)))
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            **{f"{links}": partial(measure, without, options.seconds, links=links) for links in (32, 1, _FEW)},
            "a slot that is free": partial(measure, free, options.seconds),
            "a slot that is free, one request at a time": partial(measure, free, options.seconds, links=1),
            "a slot that is waited for": partial(measure, crowded, options.seconds),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    figures = []
    for links, what in zip(("32", "1", f"{_FEW}"), [name for name in runs if not name.isdecimal()], strict=True):
        more = sum(runs[what][role] - runs[links][role] for role in ("worker", "supervisor"))
        figures.append(Figure(14, f"{what}: worker and supervisor", more, "us", target="<= 60 us"))
    return figures

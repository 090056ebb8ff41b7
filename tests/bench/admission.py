"""Row 14: what a slot costs. The same server as an engine of ours, and as one that somebody else runs: the difference,
in the worker and the supervisor, is two messages, the queue, and all that comes with them.

Where requests come one by one, each of the three messages wakes a process that slept. What that alone takes is
measured in the same run, with two processes that do nothing else: it is the peer.
"""

import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from types import SimpleNamespace
from typing import Any

from gateway.loader import load_backend
from gateway.relay.forward import Forwarder
from gateway.relay.shedding import Shedding
from gateway.relay.target import Target
from gateway.settings.schema import Backend
from tests.bench.figure import Figure, Options, alternate, medians
from tests.bench.gateway import Shape, tollkeeper
from tests.bench.peers import static_upstream
from tests.bench.throughput import measure

_MANY, _FEW = 256, 8  # slots
_TIMES = 50_000
_TURNS = 20_000


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
            "bare": _wake,
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    bare = runs.pop("bare")["all"]
    figures = []
    for links, what in zip(("32", "1", f"{_FEW}"), [name for name in runs if not name.isdecimal()], strict=True):
        more = sum(runs[what][role] - runs[links][role] for role in ("worker", "supervisor"))
        peer = {"peer": bare, "peer_name": "three messages that wake"} if links == "1" else {}
        figures.append(Figure(14, f"{what}: worker and supervisor", more, "us", target="<= 60 us", **peer))
    return figures


def _wake() -> dict[str, float]:
    """CPU microseconds of three messages between two processes, each of which wakes the one that waits for it."""
    ours, theirs = socket.socketpair()
    child = os.fork()
    if not child:
        ours.close()
        while message := theirs.recv(256):
            theirs.send(message)
        os._exit(0)
    theirs.close()
    message, begun = bytes(100), time.process_time()
    for _ in range(_TURNS):
        ours.send(message)
        ours.recv(256)
    ours.close()
    spent = time.process_time() - begun
    _, _, usage = os.wait4(child, 0)
    return {"all": 1.5 * (spent + usage.ru_utime + usage.ru_stime) / _TURNS * 1e6}


def admit(options: Options) -> list[Figure]:
    """A backend without slots: who is shed, and which of three endpoints it is; in the worker alone."""
    best = min(_admit() for _ in range(options.rounds))
    return [Figure(14, "admission where there are no slots", best, "us", target="<= 2 us")]


def _admit() -> float:
    settings = Backend(engine=("http", {"endpoints": [{"url": f"http://127.0.0.{n}:80"} for n in (1, 2, 3)]}))
    target = Target("fleet", settings, load_backend("fleet", *settings.engine))
    places: Any = SimpleNamespace(trials={}, down_of=lambda name: frozenset())
    forwarder = Forwarder(None, places, 1.0, lambda exchange: None, time.monotonic)  # type: ignore[arg-type]
    shedding = Shedding(0.25, {}, ())
    exchange: Any = SimpleNamespace(upstream=None, outcome=None)
    passage = forwarder.passage(exchange, target)
    begun = time.process_time()
    for _ in range(_TIMES):
        shedding.check(exchange)
        forwarder.budget.enter()
        forwarder._choose(passage, None)
        forwarder.budget.leave()
    return (time.process_time() - begun) / _TIMES * 1e6

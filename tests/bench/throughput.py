"""Rows 1, 2, 3, 5, 7, 8 and 10: CPU time per request, ours by role, beside nginx and Envoy."""

import time
from collections.abc import Callable
from contextlib import ExitStack

from tests.bench import cpu
from tests.bench.figure import Figure, Options, alternate, medians
from tests.bench.gateway import Shape, tollkeeper, workers
from tests.bench.load import drive
from tests.bench.peers import Proxy, envoy_proxy, nginx_proxy, static_upstream
from tests.bench.place import KEY
from tests.plugins.issuer import sign
from tests.redis import running_redis

MANY = 100_000  # consumers
_OURS = ("worker", "supervisor", "control", "shim")


def measure(proxy: Proxy, seconds: float, keys: int = 1, links: int = 32, token: str = KEY) -> dict[str, float]:
    """CPU microseconds per answered request, by role and `all`, and requests per second as `rate`."""
    before = cpu.seconds_by_role(proxy.pid)
    load = drive(proxy.port, seconds, keys, links, token)
    _await_idle(proxy.pid)
    after = cpu.seconds_by_role(proxy.pid)
    if load.refused or load.broken:
        raise RuntimeError(f"{proxy.name}: {load.refused} refused, {load.broken} broken")
    spent = {name: (after[name] - before.get(name, 0.0)) / load.requests * 1e6 for name in after}
    return spent | {"all": sum(spent.values()), "rate": load.rate}


def _await_idle(pid: int, patience: float = 10) -> None:
    """Return when the processes have caught up with what the load left to be done (ingest lags behind)."""
    deadline, seen = time.monotonic() + patience, -1.0
    while (spent := cpu.seconds(cpu.tree(pid))) - seen > 0.02 and time.monotonic() < deadline:
        seen = spent
        time.sleep(0.3)


def compare(options: Options) -> list[Figure]:
    """Rows 1, 2, 3, the asking half of 8, the ingesting half of 10; with the ledger in Redis, jwt and acl as well."""
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        nginx = stack.enter_context(nginx_proxy(upstream))
        envoy = stack.enter_context(envoy_proxy(upstream))
        leasing = stack.enter_context(tollkeeper("leasing", upstream))
        asking = stack.enter_context(tollkeeper("asking", upstream, Shape(consumers=MANY)))
        redis = stack.enter_context(running_redis()).url
        fleet = stack.enter_context(tollkeeper("fleet", upstream, Shape(redis=redis)))
        fleet_asking = stack.enter_context(tollkeeper("fleet-asking", upstream, Shape(consumers=MANY, redis=redis)))
        now = time.time_ns() // 10**9
        token = sign(iat=now, exp=now + 36_000)
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            "nginx": lambda: measure(nginx, options.seconds),
            "envoy": lambda: measure(envoy, options.seconds),
            "leasing": lambda: measure(leasing, options.seconds),
            "asking": lambda: measure(asking, options.seconds, MANY),
            "leasing, jwt, acl, Redis": lambda: measure(fleet, options.seconds, token=token),
            "asking, acl, Redis": lambda: measure(fleet_asking, options.seconds, MANY),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    return _compared(runs)


def _compared(runs: dict[str, dict[str, float]]) -> list[Figure]:
    figures = []
    bare, envoy = runs["nginx"]["all"], runs["envoy"]["all"]
    for tier, run in runs.items():
        if tier in ("nginx", "envoy"):
            continue
        figures += [
            Figure(1, f"worker CPU per request, {tier}", run["worker"], "us", envoy, "Envoy", "<= 1.0x"),
            Figure(2, f"CPU per request of all our processes, {tier}", run["all"], "us", envoy, "Envoy", "<= 1.5x"),
            Figure(3, f"worker CPU per request, {tier}", run["worker"], "us", bare, "nginx, bare", "<= 3x"),
        ]
    asked = sum(runs["asking"].get(role, 0.0) - runs["leasing"].get(role, 0.0) for role in ("worker", "supervisor"))
    figures.append(
        Figure(
            8, "a request that asks, worker and supervisor: more than one that leases", asked, "us", target="<= 30 us"
        )
    )
    figures.append(Figure(10, "ingest: control's CPU per request", runs["leasing"]["control"], "us", target="<= 15 us"))
    return figures


def grow(options: Options) -> list[Figure]:
    """Row 5: the same request through a small configuration and a large one."""
    return [
        _grow("100,000 consumers instead of 1,000", Shape(consumers=1_000), Shape(consumers=MANY), options),
        _grow("1,000 routes instead of 10", Shape(routes=10), Shape(routes=1_000), options),
        _grow("1,000,000 stored keys instead of none", Shape(), Shape(stored=1_000_000), options),
    ]


def _grow(what: str, small: Shape, large: Shape, options: Options) -> Figure:
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        one = stack.enter_context(tollkeeper("grow-small", upstream, small))
        other = stack.enter_context(tollkeeper("grow-large", upstream, large))
        subjects: dict[str, Callable[[], dict[str, float]]] = {
            "small": lambda: measure(one, options.seconds, small.consumers),
            "large": lambda: measure(other, options.seconds, large.consumers),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    ours, peer = (runs[name]["worker"] + runs[name]["supervisor"] for name in ("large", "small"))
    return Figure(5, f"CPU per request, {what}", ours, "us", peer, "the small one", "<= 1.1x")


def scale(options: Options) -> list[Figure]:
    """Row 7: two workers on two cores against one, and how evenly connections fall."""
    with ExitStack() as stack:
        upstream = stack.enter_context(static_upstream())
        one = stack.enter_context(tollkeeper("one-worker", upstream, Shape(cores="0,1")))
        two = stack.enter_context(tollkeeper("two-workers", upstream, Shape(workers=2, cores="0,1")))
        shares: dict[int, list[float]] = {32: [], 256: []}

        def run_two(links: int) -> dict[str, float]:
            before = [cpu.seconds([pid]) for pid in workers(two)]
            run = measure(two, options.seconds, links=links)
            spent = [cpu.seconds([pid]) - was for pid, was in zip(workers(two), before, strict=True)]
            shares[links].append(max(spent) / sum(spent))
            return run

        subjects = {
            "one": lambda: measure(one, options.seconds),
            "two": lambda: run_two(32),
            "wide": lambda: run_two(256),
        }
        runs = {name: medians(taken) for name, taken in alternate(subjects, options.rounds).items()}
    return [
        Figure(
            7,
            "CPU per request with 2 workers",
            runs["two"]["worker"],
            "us",
            runs["one"]["worker"],
            "1 worker",
            "<= 1.1x",
        ),
        *(
            Figure(
                7,
                f"share of the busier worker, {links} connections",
                100 * sorted(taken)[len(taken) // 2],
                "%",
                target="<= 60 %",
            )
            for links, taken in shares.items()
        ),
    ]

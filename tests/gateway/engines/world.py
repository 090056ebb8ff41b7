"""A make-believe supervisor around the pure decision: engines that start and stop at the test's word."""

import math

from gateway.engines.residency import Demand, Phase, Tenant, decide

RESIDENCY = 10.0


class World:
    """Asserts, at every step, what residency promises. `pinned` and `groups` go by the engines' numbers."""

    def __init__(self, budget: int, sizes: list[int], groups: list[str], pinned: set[int]) -> None:
        self.now = 100.0
        self.budget = budget
        self.sizes = {str(number): size for number, size in enumerate(sizes)}
        self.groups = {name: groups[int(name)] for name in self.sizes}
        self.pinned = {str(number) for number in pinned}
        self.phases = dict.fromkeys(self.sizes, Phase.ABSENT)
        self.ready: dict[str, float] = {}
        self.used = dict.fromkeys(self.sizes, 0.0)
        self.closed: frozenset[str] = frozenset()
        self.users = dict.fromkeys(self.sizes, 0)
        self.demands: list[Demand] = []
        self.loaded: list[str] = []

    def come(self, number: int, may_load: bool, may_evict: bool) -> None:
        demand = Demand(str(number), may_load, may_evict)
        if demand.name in self.sizes and demand not in self.demands:
            self.demands.append(demand)

    def leave(self, number: int) -> None:
        """Somebody who uses an engine, or waits for one, leaves."""
        busy = [name for name, users in self.users.items() if users]
        if number % 2 and busy:
            name = busy[number % len(busy)]
            self.users[name] -= 1
            self.used[name] = self.now
        elif self.demands:
            del self.demands[number % len(self.demands)]

    def advance(self, number: int) -> None:
        """An engine that starts is ready; one that stops is gone."""
        name = str(number)
        if self.phases.get(name) is Phase.RESIDENT:
            self.ready.setdefault(name, self.now)
        elif self.phases.get(name) is Phase.LEAVING:
            self.phases[name] = Phase.ABSENT
            self.ready.pop(name, None)

    def settle(self) -> None:
        decision = decide([self._tenant(name) for name in self.sizes], self.demands, self.budget, self.now)
        is_swap = any(phase is Phase.LEAVING for phase in self.phases.values())
        for name in decision.stop:
            assert self.phases[name] is Phase.RESIDENT
            assert not self.users[name], "it is in use"
            assert name not in self.pinned
            assert self.now >= self.ready[name] + RESIDENCY, "too young"
            assert not is_swap, "two swaps at once"
            self.phases[name] = Phase.LEAVING
        for name in decision.load:
            assert self.phases[name] is Phase.ABSENT
            assert name in {demand.name for demand in self.demands if demand.may_load}
            self.phases[name] = Phase.RESIDENT
        if decision.stop:
            assert any(demand.may_evict and demand.may_load for demand in self.demands), "nobody may"
        self.closed = decision.closed
        self._check_memory()
        for demand in list(self.demands):
            is_open = self.phases[demand.name] is Phase.RESIDENT and demand.name not in self.closed
            assert not (is_open and demand in decision.refused), "it is there, and may be used"
            if is_open:
                self.users[demand.name] += 1
            if is_open or demand in decision.refused:
                self.demands.remove(demand)
            else:
                assert demand.name in decision.waits or demand.name in decision.load, "forgotten"

    def finish(self) -> None:
        """Everybody who uses an engine ends, time passes: all who wait are served or refused."""
        for _ in range(12 * len(self.sizes)):
            for name in self.sizes:
                self.advance(int(name))
                self.users[name] = 0
            self.now += RESIDENCY
            self.settle()
        assert not self.demands, "somebody waits for ever"

    def _check_memory(self) -> None:
        present = [name for name, phase in self.phases.items() if phase is not Phase.ABSENT]
        assert sum(self.sizes[name] for name in present) <= self.budget
        groups = [self.groups[name] for name in present if self.groups[name]]
        assert len(groups) == len(set(groups)), "two of a group"

    def _tenant(self, name: str) -> Tenant:
        return Tenant(
            name=name, phase=self.phases[name], memory=self.sizes[name], group=self.groups[name],
            is_pinned=name in self.pinned, is_used=self.users[name] > 0, is_closed=name in self.closed,
            ripe=self.ready[name] + RESIDENCY if name in self.ready else math.inf, used=self.used[name],
        )  # fmt: skip

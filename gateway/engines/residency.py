"""Which engines are in memory, and who makes room for whom. Pure: `decide(tenants, demands, budget, now)`.

- What starts, runs or stops counts with all its memory; never is more than the budget in it, never two of a group.
- Who came first is served first. A later one is loaded before only where that takes nothing from those ahead.
- Where room must be made, the engines used longest ago go: never one that is pinned, in use, or younger than its
  minimum residency. One that is in use is closed to newcomers, and goes when the last request has left it.
- One swap at a time: the next begins when the engines of the one before are gone.
- An engine that nobody used for `idle` seconds goes by itself, if it is not pinned.
"""

import math
from collections.abc import Iterable, Sequence
from enum import Enum

import msgspec


class Phase(Enum):
    ABSENT = "absent"
    RESIDENT = "resident"  # it runs, starts, or is about to
    LEAVING = "leaving"  # it was told to stop, and still has memory
    RETIRED = "retired"  # another configuration's; it goes when its last requests have


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """An engine as the budget sees it. Moments are seconds of the caller's clock, memory is bytes (0: not known)."""

    name: str
    phase: Phase
    memory: int = 0
    group: str = ""
    is_pinned: bool = False
    is_used: bool = False
    is_closed: bool = False  # it was chosen to go before, and newcomers were kept out
    is_unwanted: bool = False  # somebody asked for it to be unloaded
    ripe: float = 0.0  # from when on it may go; infinite while it starts
    used: float = 0.0  # when it was last in use
    idle: float = math.inf  # seconds without use after which it goes

    @property
    def may_go(self) -> bool:
        return self.phase is Phase.RESIDENT and not self.is_pinned


class Demand(msgspec.Struct, frozen=True):
    """Somebody who wants an engine that is not there, and what may be done for him."""

    name: str
    may_load: bool = True
    may_evict: bool = False


class Refusal(Enum):
    MAY_NOT_LOAD = "may_load"  # it is not loaded, and he may only use what is
    MAY_NOT_EVICT = "may_evict"  # others would have to go, and he may not make them
    NEVER_FITS = "memory"  # not even if everything went that may


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done now; `until` is when to ask again if nothing happens before.

    `closed` are resident engines that take nobody in. `waits` tells why a demanded engine is not being loaded yet.
    """

    load: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    closed: frozenset[str] = frozenset()
    refused: dict[Demand, Refusal] = {}
    waits: dict[str, str] = {}
    until: float = math.inf


def decide(tenants: Sequence[Tenant], demands: Iterable[Demand], budget: int, now: float) -> Decision:
    """What becomes of all `demands`, the oldest first. `budget` is bytes, 0 for no bound."""
    house = _House(tenants, budget, now)
    wishes: dict[str, list[Demand]] = {}
    for demand in demands:
        wishes.setdefault(demand.name, []).append(demand)
    house.unload()
    house.shrink()
    for name, demanded in wishes.items():
        house.serve(name, demanded)
    house.stop_idle(wishes.keys())
    return house.decision()


class _House:
    """A decision in the making. `_room` is what nobody has or was promised, `_coming` what is being given up."""

    def __init__(self, tenants: Sequence[Tenant], budget: int, now: float) -> None:
        self._now = now
        self._budget = budget or math.inf
        self._tenants = {tenant.name: tenant for tenant in tenants if tenant.phase is not Phase.RETIRED}
        self._going = [tenant for tenant in tenants if tenant.phase in (Phase.LEAVING, Phase.RETIRED)]
        self._room = self._budget - sum(tenant.memory for tenant in tenants if tenant.phase is not Phase.ABSENT)
        self._coming = sum(tenant.memory for tenant in tenants if tenant.phase is Phase.LEAVING)
        self._is_swapping = any(tenant.phase is Phase.LEAVING for tenant in tenants)
        self._load: list[str] = []
        self._stop: list[str] = []
        self._closed: set[str] = set()
        self._entered: set[str] = set()  # those who want them are let in now: before that they cannot be closed
        self._refused: dict[Demand, Refusal] = {}
        self._waits: dict[str, str] = {}
        self._until = math.inf

    def decision(self) -> Decision:
        return Decision(
            load=tuple(self._load), stop=tuple(self._stop), closed=frozenset(self._closed), refused=self._refused,
            waits=self._waits, until=self._until,
        )  # fmt: skip

    def unload(self) -> None:
        """What somebody asked to unload goes when it is not in use."""
        for tenant in self._tenants.values():
            if tenant.is_unwanted and tenant.phase is Phase.RESIDENT:
                self._close([tenant])

    def shrink(self) -> None:
        """Go back below a budget that has become smaller."""
        if self._room + self._coming < 0 and not self._is_swapping:
            self._make_room(None, [])

    def serve(self, name: str, demands: list[Demand]) -> None:
        """Load `name`, or make room for it, or tell why not."""
        tenant = self._tenants[name]
        if tenant.phase is Phase.RESIDENT and name not in self._closed:
            self._entered.add(name)
            return
        demands = self._keep(demands, Refusal.MAY_NOT_LOAD, [demand.may_load for demand in demands])
        if demands and self._never_fits(tenant):
            demands = self._keep(demands, Refusal.NEVER_FITS, [False] * len(demands))
        if not demands:
            return
        if tenant.phase is Phase.RESIDENT:
            self._return(tenant, demands)
            return
        self._coming += sum(old.memory for old in self._going if old.phase is Phase.RETIRED and old.name == name)
        rivals = [other for other in self._mates(tenant) if other.phase is Phase.RESIDENT]
        if rivals or tenant.memory > self._room + self._coming:
            demands = self._keep(demands, Refusal.MAY_NOT_EVICT, [demand.may_evict for demand in demands])
            if demands:
                self._swap_in(tenant, rivals)
            return
        if tenant.memory <= self._room and not self._is_blocked(tenant):
            self._load.append(name)
            self._room -= tenant.memory
        else:
            self._waits[name] = "the memory is being freed"
            self._promise(tenant)

    def stop_idle(self, wanted: Iterable[str]) -> None:
        """Let go what nobody has used for long."""
        for tenant in self._tenants.values():
            if tenant.may_go and not tenant.is_used and tenant.name not in self._closed and tenant.name not in wanted:
                end = max(tenant.used + tenant.idle, tenant.ripe)
                if end <= self._now:
                    self._close([tenant])
                else:
                    self._until = min(self._until, end)

    def _keep(self, demands: list[Demand], refusal: Refusal, rights: list[bool]) -> list[Demand]:
        """Those with the right; the others are refused."""
        pairs = list(zip(demands, rights, strict=True))
        self._refused.update((demand, refusal) for demand, has in pairs if not has)
        return [demand for demand, has in pairs if has]

    def _never_fits(self, tenant: Tenant) -> bool:
        pinned = [o for o in self._tenants.values() if o.is_pinned and o.phase is Phase.RESIDENT and o is not tenant]
        is_held = any(tenant.group and other.group == tenant.group for other in pinned)
        return is_held or tenant.memory + sum(other.memory for other in pinned) > self._budget

    def _return(self, tenant: Tenant, demands: list[Demand]) -> None:
        """It is just being unloaded: wait until it is gone, with the right to come back."""
        if not tenant.is_unwanted:
            demands = self._keep(demands, Refusal.MAY_NOT_EVICT, [demand.may_evict for demand in demands])
        if demands:
            self._waits[tenant.name] = "it is just being unloaded"
            self._promise(tenant)

    def _mates(self, tenant: Tenant) -> list[Tenant]:
        """Others of its group."""
        others = self._tenants.values()
        return [other for other in others if tenant.group and other.group == tenant.group and other is not tenant]

    def _is_blocked(self, tenant: Tenant) -> bool:
        """Whether its own process of before, or one of its group, is still there or was just promised the place."""
        is_promised = any(mate.name in self._load or mate.name in self._waits for mate in self._mates(tenant))
        return is_promised or any(
            other.name == tenant.name or (tenant.group and other.group == tenant.group) for other in self._going
        )

    def _swap_in(self, tenant: Tenant, rivals: list[Tenant]) -> None:
        if self._is_swapping:
            self._waits[tenant.name] = "another model is being swapped first"
        else:
            self._waits[tenant.name] = "other models must be unloaded first"
            self._make_room(tenant, [rival for rival in rivals if rival.name not in self._closed])
        self._promise(tenant)

    def _promise(self, tenant: Tenant) -> None:
        """Keep memory for one that waits: first of what is being given up, as that is what it waits for."""
        taken = min(self._coming, tenant.memory)
        self._coming -= taken
        self._room -= tenant.memory - taken

    def _make_room(self, tenant: Tenant | None, rivals: list[Tenant]) -> None:
        """Close the engines that must go, and stop them once none is in use; wait for those that are too young."""
        self._is_swapping = True
        lacking = (tenant.memory if tenant is not None else 0) - self._room - self._coming
        victims = self._choose(lacking - sum(rival.memory for rival in rivals), rivals)
        ripe = max((victim.ripe for victim in victims), default=0.0)
        if any(victim.name in self._entered for victim in victims):
            self._until = self._now
        elif ripe <= self._now:
            self._close(victims)
        else:
            self._until = min(self._until, ripe)
            if tenant is not None:
                self._waits[tenant.name] = "a model that was loaded just now is kept for its minimum residency"

    def _choose(self, lacking: float, rivals: list[Tenant]) -> list[Tenant]:
        """The engines that go: `rivals`, and as few more as give `lacking` bytes. Empty: that many may not go now."""
        others = [
            other for other in self._tenants.values()
            if other.may_go and other.memory and other.name not in self._closed and other not in rivals
        ]  # fmt: skip
        others.sort(key=self._reluctance)
        chosen: list[Tenant] = []
        for other in others:
            if lacking <= 0:
                break
            chosen.append(other)
            lacking -= other.memory
        if lacking > 0:
            return []
        for other in list(chosen):
            if lacking + other.memory <= 0:
                chosen.remove(other)
                lacking += other.memory
        return [*rivals, *chosen]

    def _reluctance(self, tenant: Tenant) -> tuple[float, bool, float]:
        """Those that may go now before those that may later, idle before used, used long ago before lately."""
        return max(tenant.ripe, self._now), tenant.is_used and not tenant.is_closed, tenant.used

    def _close(self, victims: list[Tenant]) -> None:
        self._closed.update(victim.name for victim in victims)
        self._coming += sum(victim.memory for victim in victims)
        if not any(victim.is_used for victim in victims):
            self._stop.extend(victim.name for victim in victims)

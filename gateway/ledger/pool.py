"""Slots in use: who holds how many units of each pool, and until when."""

from collections import OrderedDict
from collections.abc import Iterator

from gateway.ledger.limit import Slots
from gateway.ledger.record import PoolImage
from gateway.ledger.view import SlotsView

Hold = tuple[int, int, str]  # milli-units, steady time of its end, writer


class Pool:
    """What is in use of one pool. A hold that has ended is as good as absent, and forgotten when it is met."""

    __slots__ = ("_holds", "_units", "ttl_us")

    def __init__(self) -> None:
        self.ttl_us = 0
        self._holds: OrderedDict[str, Hold] = OrderedDict()  # by charge; the one that ends first is first
        self._units = 0

    def used(self, now_us: int) -> int:
        """Milli-units in use."""
        while self._holds:
            charge = next(iter(self._holds))
            if self._holds[charge][1] > now_us:
                break
            self.release(charge)
        return self._units

    def hold(self, charge: str, hold: Hold) -> None:
        """Put a hold in place of what `charge` holds."""
        self.release(charge)
        is_last = not self._holds or hold[1] >= self._holds[next(reversed(self._holds))][1]
        self._holds[charge] = hold
        self._units += hold[0]
        if not is_last:  # the time to live was lowered
            self._holds = OrderedDict(sorted(self._holds.items(), key=lambda item: item[1][1]))

    def find(self, charge: str, now_us: int) -> Hold | None:
        """What `charge` holds."""
        self.used(now_us)
        return self._holds.get(charge)

    def release(self, charge: str) -> None:
        """Free what `charge` holds, if anything."""
        hold = self._holds.pop(charge, None)
        if hold is not None:
            self._units -= hold[0]

    def bury(self, writer: str) -> None:
        """Free all that `writer` holds."""
        for charge in [charge for charge, hold in self._holds.items() if hold[2] == writer]:
            self.release(charge)

    def clamp(self, now_us: int) -> None:
        """Bring back ends that lie too far ahead."""
        latest = now_us + self.ttl_us
        for charge, (units, end_us, writer) in self._holds.items():
            self._holds[charge] = (units, min(end_us, latest), writer)

    def export(self, now_us: int) -> PoolImage | None:
        """What is in use, if anything."""
        return PoolImage(self.ttl_us, dict(self._holds)) if self.used(now_us) else None


class Pools:
    """Pools by key. Each new one looks at the two oldest, so idle ones never outnumber the others for long."""

    def __init__(self) -> None:
        self._pools: OrderedDict[str, Pool] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pools)

    def view(self, slots: Slots, now_us: int) -> SlotsView:
        """How `slots` stand."""
        pool = self._pools.get(slots.key)
        return SlotsView(slots, 0 if pool is None else pool.used(now_us))

    def take(self, slots: Slots, charge: str, units: int, writer: str, now_us: int) -> None:
        """Have `charge` hold `units` more."""
        if not units:
            return
        pool = self._pools.get(slots.key)
        if pool is None:
            self._forget_idle(now_us)
            pool = self._pools[slots.key] = Pool()
        pool.ttl_us = slots.ttl_us
        held = pool.find(charge, now_us)
        pool.hold(charge, (units + (held[0] if held else 0), now_us + slots.ttl_us, writer))

    def release(self, slots: Slots, charge: str) -> None:
        """Free all that `charge` holds."""
        pool = self._pools.get(slots.key)
        if pool is not None:
            pool.release(charge)

    def renew(self, slots: Slots, charge: str, now_us: int) -> None:
        """Let what `charge` still holds live on."""
        pool = self._pools.get(slots.key)
        if pool is not None and (held := pool.find(charge, now_us)) is not None:
            pool.ttl_us = slots.ttl_us
            pool.hold(charge, (held[0], now_us + slots.ttl_us, held[2]))

    def bury(self, writer: str) -> None:
        """Free all that `writer` holds of any pool."""
        for pool in self._pools.values():
            pool.bury(writer)

    def _forget_idle(self, now_us: int) -> None:
        for _ in range(min(2, len(self._pools))):
            key, pool = self._pools.popitem(last=False)
            if pool.used(now_us):
                self._pools[key] = pool

    def clamp(self, now_us: int) -> None:
        """Bring back ends that lie too far ahead."""
        for pool in self._pools.values():
            pool.clamp(now_us)

    def keys(self) -> list[str]:
        """Every pool that is remembered."""
        return list(self._pools)

    def export(self, keys: list[str], now_us: int) -> Iterator[tuple[str, PoolImage]]:
        """Those of `keys` that are in use."""
        for key in keys:
            pool = self._pools.get(key)
            if pool is not None and (image := pool.export(now_us)) is not None:
                yield key, image

    def restore(self, key: str, image: PoolImage) -> None:
        """Take over an exported pool, in place of one that is known."""
        pool = self._pools[key] = Pool()
        pool.ttl_us = image.ttl_us
        for charge, hold in image.holds.items():
            pool.hold(charge, hold)

"""The buckets of all rates, of which only those that are not full are remembered."""

from collections import OrderedDict
from collections.abc import Iterator

from gateway.ledger import gcra
from gateway.ledger.limit import Rate
from gateway.ledger.record import BucketImage
from gateway.ledger.view import RateView

LEASE_US = 1_000_000  # how long a worker may hold units, counted by the worker from the moment it asked


class Bucket:
    """The TAT of one rate, and the leases that may still be spent, oldest first, as {charge: (units, until_us)}."""

    __slots__ = ("leases", "pace", "rate", "tat")

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.pace = gcra.pace(rate.count, rate.period_us, rate.burst)
        self.tat = 0
        self.leases: dict[str, tuple[int, int]] = {}

    def move(self, now_us: int, units: int) -> None:
        """Charge `units` milli-units, or refund where negative."""
        self.tat = gcra.move(self.pace, self.tat, now_us, units)

    def leased(self, now_us: int) -> int:
        """Units on leases that have not ended."""
        return sum(units for units, until_us in self.leases.values() if until_us > now_us) if self.leases else 0

    def lend(self, charge: str, units: int, now_us: int) -> None:
        """Note a lease, and forget those that have ended."""
        self.leases = {name: lease for name, lease in self.leases.items() if lease[1] > now_us}
        self.leases[charge] = (units, now_us + LEASE_US)

    def is_idle(self, now_us: int) -> bool:
        """Whether forgetting it changes nothing."""
        return self.tat <= now_us * self.pace.scale and not self.leased(now_us)


class Buckets:
    """Buckets by key. Each new one looks at the two oldest, so idle ones never outnumber the others for long."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def view(self, rate: Rate, now_us: int) -> RateView:
        """How `rate` stands. A bucket kept under another rate of this key keeps its TAT, which is a moment in time."""
        pace = gcra.pace(rate.count, rate.period_us, rate.burst)
        bucket = self._buckets.get(rate.key)
        if bucket is None:
            return RateView(pace, 0, 0)
        tat = gcra.rescale(bucket.tat, bucket.pace, pace)
        return RateView(pace, gcra.measure_backlog(pace, tat, now_us), bucket.leased(now_us))

    def open(self, rate: Rate, now_us: int) -> Bucket:
        """The bucket of `rate`, to be changed."""
        bucket = self._buckets.get(rate.key)
        if bucket is None:
            self._forget_idle(now_us)
            bucket = self._buckets[rate.key] = Bucket(rate)
        elif bucket.rate != rate:
            old, bucket.rate, bucket.pace = bucket.pace, rate, gcra.pace(rate.count, rate.period_us, rate.burst)
            bucket.tat = gcra.rescale(bucket.tat, old, bucket.pace)
        return bucket

    def _forget_idle(self, now_us: int) -> None:
        for _ in range(min(2, len(self._buckets))):
            key, bucket = self._buckets.popitem(last=False)
            if not bucket.is_idle(now_us):
                self._buckets[key] = bucket

    def clamp(self, now_us: int) -> None:
        """Bring back times that lie too far ahead."""
        for bucket in self._buckets.values():
            bucket.tat = min(bucket.tat, now_us * bucket.pace.scale + gcra.furthest(bucket.pace))
            latest = now_us + LEASE_US
            bucket.leases = {name: (units, min(until, latest)) for name, (units, until) in bucket.leases.items()}

    def keys(self) -> list[str]:
        """Every bucket that is remembered, in any order."""
        return list(dict.keys(self._buckets))  # that of an OrderedDict takes ten times as long

    def export(self, keys: list[str], now_us: int) -> Iterator[tuple[str, BucketImage]]:
        """Those of `keys` that are not idle."""
        for key in keys:
            bucket = self._buckets.get(key)
            if bucket is not None and not bucket.is_idle(now_us):
                rate = bucket.rate
                leases = {name: x for name, x in bucket.leases.items() if x[1] > now_us} if bucket.leases else {}
                tat_us, ticks = divmod(bucket.tat, bucket.pace.scale)
                yield key, BucketImage(rate.count, rate.period_us, rate.burst, tat_us, ticks, leases)

    def restore(self, key: str, image: BucketImage) -> None:
        """Take over an exported bucket, in place of one that is known."""
        bucket = self._buckets[key] = Bucket(Rate(key, image.count, image.period_us, image.burst))
        bucket.tat = image.tat_us * bucket.pace.scale + image.ticks
        bucket.leases = dict(image.leases)

"""What the ledger writes down: each change of the state, and now and then the whole of it."""

import msgspec

from gateway.ledger.limit import Ask, Grant, Refund, Renew, Return


class Settlement(msgspec.Struct, frozen=True, array_like=True, tag="settlement"):
    """What a dead writer truly spent, as (quota key, period, milli-units), in place of what it was charged."""

    totals: tuple[tuple[str, str, int], ...]


class Death(msgspec.Struct, frozen=True, array_like=True, tag="death"):
    """The writer is dead: the slots it held are free."""


class Entry(msgspec.Struct, frozen=True, array_like=True, tag="entry"):
    """One change, made by `writer` at `at_us` on the steady clock. An Ask stands here only if it was granted,
    and with those needs alone that are charged.

    `lease` and `period` are those of the grant.
    """

    writer: str
    at_us: int
    message: Ask | Refund | Return | Settlement | Renew | Death
    lease: int = 0
    period: str = ""

    @classmethod
    def of(cls, writer: str, at_us: int, ask: Ask, grant: Grant) -> "Entry":
        """What `grant` changes."""
        if grant.shadowed:
            needs = tuple([need for place, need in enumerate(ask.needs) if place not in grant.shadowed])
            ask = Ask(ask.charge, needs, ask.lease)
        return cls(writer, at_us, ask, grant.lease, grant.period)


class BucketImage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A bucket at rest: its rate, its TAT in microseconds and ticks, its leases as {charge: (units, until_us)}.

    Outside the garbage collector, which took about 40 % of the time of a large snapshot.
    """

    count: int
    period_us: int
    burst: int
    tat_us: int
    ticks: int
    leases: dict[str, tuple[int, int]]


class PoolImage(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A pool at rest: the slots in use as {charge: (units, until_us, writer)}, the one that ends first at the front."""

    ttl_us: int
    holds: dict[str, tuple[int, int, str]]


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """The whole state: buckets by key, months as (key, period, used), by writer what it was charged of them, pools."""

    buckets: dict[str, BucketImage]
    months: tuple[tuple[str, str, int], ...]
    charges: dict[str, tuple[tuple[str, str, int], ...]]
    pools: dict[str, PoolImage] = {}


Record = Entry | Snapshot

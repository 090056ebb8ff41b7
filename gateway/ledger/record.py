"""What the ledger writes down: each change of the state, and now and then the whole of it."""

import msgspec

from gateway.ledger.limit import Ask, Refund, Return


class Settlement(msgspec.Struct, frozen=True, array_like=True, tag="settlement"):
    """What a dead writer truly spent, as (quota key, period, milli-units), in place of what it was charged."""

    totals: tuple[tuple[str, str, int], ...]


class Entry(msgspec.Struct, frozen=True, array_like=True, tag="entry"):
    """One change, made by `writer` at `at_us` on the steady clock. An Ask stands here only if it was granted.

    `lease` and `period` are those of the grant.
    """

    writer: str
    at_us: int
    message: Ask | Refund | Return | Settlement
    lease: int = 0
    period: str = ""


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


class Snapshot(msgspec.Struct, frozen=True, array_like=True, tag="snapshot"):
    """The whole state: buckets by key, months as (key, period, used), and by writer what it was charged of them."""

    buckets: dict[str, BucketImage]
    months: tuple[tuple[str, str, int], ...]
    charges: dict[str, tuple[tuple[str, str, int], ...]]


Record = Entry | Snapshot

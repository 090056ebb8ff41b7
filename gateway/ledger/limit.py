"""The values of the ledger: limits, what a worker asks, what an authority answers.

They travel between processes as msgpack, so every message is an immutable, array-like, tagged Struct.
Costs, leases and figures are integers in *milli-units* (a cost of 0.5 units is 500); `count`, `burst` and `limit`
are whole units. Times are integer microseconds.
"""

import msgspec


class Rate(msgspec.Struct, frozen=True, array_like=True, tag="rate"):
    """`count` units per `period_us`, and at most `burst` units at once. `key` names the bucket."""

    key: str
    count: int
    period_us: int
    burst: int


class Quota(msgspec.Struct, frozen=True, array_like=True, tag="quota"):
    """`limit` units per month of `zone` (an IANA name). `key` names the counter, without the month.

    A month begins on day `anchor` (1 to 31; a shorter month's last day stands for those it lacks).
    """

    key: str
    limit: int
    zone: str = "UTC"
    anchor: int = 1


class Slots(msgspec.Struct, frozen=True, array_like=True, tag="slots"):
    """At most `limit` units in use at once. `key` names the pool.

    A charge holds its units until it is refunded, or until `ttl_us` after it was asked for or last renewed: what a
    dead worker held comes back by itself.
    """

    key: str
    limit: int
    ttl_us: int


Limit = Rate | Quota | Slots


class Need(msgspec.Struct, frozen=True, array_like=True):
    """One limit and what is wanted of it: `cost` milli-units, 0 or more in an `Ask`.

    A need in `shadow` never refuses: where it does not fit it is not charged, and the grant says so.
    """

    limit: Limit
    cost: int
    shadow: bool = False


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    """All `needs` or none. `lease`: milli-units wanted beyond the cost, to be spent by the worker alone (0: none).

    `charge` is the request's internal id. It also names the lease that the answer may bring. The keys of
    the needs differ, and all quotas among them name one zone and anchor: a charge belongs to one month. A lease is
    asked for only where all costs are equal, nothing is in shadow and no limit is `Slots`. `policy` says what happens
    while the authority cannot be asked (see `Account`).
    """

    charge: str
    needs: tuple[Need, ...]
    lease: int = 0
    policy: str = "local"


class Refund(msgspec.Struct, frozen=True, array_like=True, tag="refund"):
    """Corrects a charge after the fact: each need gets its `cost` back, or, where that is negative, owes it as debt.

    `mode` is that of the grant.
    """

    charge: str
    needs: tuple[Need, ...]
    period: str
    mode: str = ""


class Renew(msgspec.Struct, frozen=True, array_like=True, tag="renew"):
    """Holds what `charge` has in use of `limits` for another `ttl_us`. What was given back stays given back."""

    charge: str
    limits: tuple[Slots, ...]


class Return(msgspec.Struct, frozen=True, array_like=True, tag="return"):
    """Ends the lease that `charge` brought: `units` of it (0 or more) were not spent, the rest was."""

    charge: str
    limits: tuple[Limit, ...]
    units: int
    period: str


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """How one limit stands: milli-units `remaining` and `used`, and the time until a rate is full or a month ends.

    Slots have no such time: theirs is 0.
    """

    remaining: int
    reset_us: int
    used: int


class Grant(msgspec.Struct, frozen=True, array_like=True, tag="grant"):
    """Every need is charged. The worker may also spend `lease` milli-units until `lease_us` after it asked.

    `period` is the month charged ("2026-11"; empty where no need is a quota). `standings` are in the order of the
    needs, after this charge and lease. `shadowed` are the places of needs in shadow that would have refused.
    `mode` is empty where the authority answered; "degraded": this replica did, alone.
    """

    charge: str
    lease: int
    lease_us: int
    period: str
    standings: tuple[Standing, ...]
    shadowed: tuple[int, ...] = ()
    mode: str = ""


class Denial(msgspec.Struct, frozen=True, array_like=True, tag="denial"):
    """Nothing is charged. Need number `index` refuses longest, for `wait_us`; an `unsatisfiable` cost never fits it.

    When slots come free is not known: they are said to refuse for a second.
    """

    charge: str
    index: int
    wait_us: int
    standings: tuple[Standing, ...]
    unsatisfiable: bool


class LedgerDown(Exception):
    """The authority cannot be asked: nothing is known about what was charged."""

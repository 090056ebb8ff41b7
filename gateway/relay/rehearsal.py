"""A dry run: what the access chain of a route would do with a request. Nothing is charged, journalled or sent.

The plugins are instances of their own, started with a worker's services in which a `PeekingLedger` stands for the
ledger. `log` runs as ever, so that they give back what they took.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from functools import partial
from typing import Literal

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome, Reply
from gateway.http.faults import BadRequest, BodyTooLarge
from gateway.ledger.lease import Account, Charge, Cost
from gateway.ledger.limit import Denial
from gateway.plugin import Ledger
from gateway.relay.chain import Hook, run_response
from gateway.relay.directions import explain_fault
from gateway.relay.route import Route

Decision = Literal["passed", "replied", "refused"]

_log = logging.getLogger("tollkeeper")


class Step(msgspec.Struct, frozen=True):
    """What one step of a chain decided. `number` is a reply's status or a refusal's number in the catalogue, else 0.

    `lines` are the header lines that it added to the answer, without their line ends.
    """

    name: str
    decision: Decision
    number: int
    lines: tuple[str, ...]
    message: str = ""


class Draft:
    """Stands for the request of an exchange that has no connection: its body is here already."""

    complete = True
    started = False

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, limit: int) -> bytes:
        """The body. Raises BodyTooLarge where it is larger than `limit` bytes."""
        if len(self._body) > limit:
            raise BodyTooLarge(limit)
        return self._body


class PeekingLedger:
    """Answers as `ledger` would, and charges nothing."""

    def __init__(self, ledger: Ledger) -> None:
        self.peek = ledger.peek

    def take(self, account: Account, charge: str, cost: Cost) -> Awaitable[Charge | Denial]:
        """See `gateway.plugin.Ledger`."""
        return self.peek(account, cost)

    def refund(self, charge: Charge) -> None:
        """Nothing was charged."""

    def settle(self, charge: Charge, used: Cost) -> None:
        """Nothing was charged."""


class Rehearsal(msgspec.Struct, frozen=True):
    """What came of it: the steps, and the reply or refusal of the last one. Neither: the request would go on."""

    steps: list[Step]
    reply: Reply | None = None
    error: GatewayError | None = None


async def rehearse(route: Route, exchange: Exchange, ends: Sequence[tuple[str, Hook]] = ()) -> Rehearsal:
    """The steps of `route` that `exchange`, whose `request` is a `Draft`, comes to, and of `ends`, which follow.

    `ends` are hooks as those of `access`: what the core does once the chain has let the request pass.
    """
    hooks = [(name, hook) for name, (_, hook) in zip(route.chain.names, route.chain.access, strict=True)]
    steps: list[Step] = []
    reply: Reply | None = None
    error: GatewayError | None = None
    for name, hook in (*hooks, *ends):
        known = len(exchange.lines)
        reply, error = await _try(hook, exchange)
        if reply is not None:
            _, error = await _try(partial(_respond, route, reply), exchange)
        steps.append(_describe(name, reply, error, exchange.lines[known:]))
        if reply is not None or error is not None:
            break
    exchange.outcome = Outcome.TURNED_AWAY  # nothing was done for it
    for log in route.chain.log:
        log(exchange)
    return Rehearsal(steps, reply if error is None else None, error)


async def _try(hook: Hook, exchange: Exchange) -> tuple[Reply | None, GatewayError | None]:
    """What a hook says. A bug in it is told as one, with what it is: only the operator reads this."""
    try:
        reply = hook(exchange)
        return (await reply if isinstance(reply, Awaitable) else reply), None
    except GatewayError as error:
        refusal = error
    except BadRequest as fault:
        refusal = explain_fault(fault)
    except Exception as bug:
        _log.exception("a step failed in a rehearsal")
        refusal = GatewayError(1900, f"{type(bug).__name__}: {bug}")
    for field, value in refusal.headers.items():
        exchange.set_header(field, value)
    return None, refusal


async def _respond(route: Route, reply: Reply, exchange: Exchange) -> None:
    """The `response` hooks on an answer that is made here."""
    exchange.reply = reply
    if isinstance(reply.body, AsyncIterator) and route.chain.buffers and not reply.is_stream:
        reply.body = b"".join([piece async for piece in reply.body])
    await run_response(route.chain, exchange)


def _describe(name: str, reply: Reply | None, error: GatewayError | None, lines: Sequence[str]) -> Step:
    told = tuple("".join(lines).splitlines())
    if error is not None:
        return Step(name, "refused", error.number, told, error.message)
    if reply is not None:
        return Step(name, "replied", reply.status, told)
    return Step(name, "passed", 0, told)

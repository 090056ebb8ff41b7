"""A dry run: what the access chain of a route would do with a request. Nothing is charged, journalled or sent.

The plugins are instances of their own, started with a worker's services in which a `PeekingLedger` stands for the
ledger. `log` runs as ever, so that they give back what they took.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from gateway.errors import GatewayError
from gateway.exchange import Exchange, Outcome
from gateway.ledger.lease import Account, Charge
from gateway.ledger.limit import Ask, Denial, LedgerDown
from gateway.link import Peek
from gateway.relay.route import Route

Decision = Literal["passed", "replied", "refused"]


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

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def read(self, limit: int) -> bytes:
        """The body. Raises GatewayError 1208 where it is larger than `limit` bytes."""
        if len(self._body) > limit:
            raise GatewayError(1208, f"The body is larger than {limit} bytes.")
        return self._body


class PeekingLedger:
    """Answers as the ledger would, and charges nothing. `call` asks the supervisor over the link."""

    def __init__(self, call: Callable[[Peek], Any]) -> None:
        self._call = call

    async def take(self, account: Account, charge: str, cost: int) -> Charge | Denial:
        """See `gateway.plugin.Ledger`."""
        try:
            answer = await self._call(Peek(Ask(charge, account.needs(cost))))
        except ConnectionError as error:
            raise LedgerDown("the ledger does not answer") from error
        if isinstance(answer, Denial):
            return answer
        return Charge(account, charge, cost, answer.period, answer.standings, held=0, age=0.0)

    def refund(self, charge: Charge) -> None:
        """Nothing was charged."""


async def rehearse(route: Route, exchange: Exchange) -> list[Step]:
    """The steps of `route` that `exchange`, whose `request` is a `Draft`, comes to; the last one may end the chain."""
    exchange.route, exchange.cost = route.path, route.cost
    steps: list[Step] = []
    for name, (is_async, hook) in zip(route.chain.names, route.chain.access, strict=True):
        known = len(exchange.lines)
        decision: Decision = "passed"
        number, message = 0, ""
        try:
            reply = await hook(exchange) if is_async else hook(exchange)
            if reply is not None:
                decision, number = "replied", reply.status
        except GatewayError as error:
            decision, number, message = "refused", error.number, error.message
            for field, value in error.headers.items():
                exchange.set_header(field, value)
        lines = tuple("".join(exchange.lines[known:]).splitlines())
        steps.append(Step(name, decision, number, lines, message))
        if decision != "passed":
            break
    exchange.outcome = Outcome.TURNED_AWAY  # nothing was done for it
    for hook in route.chain.log:
        hook(exchange)
    return steps

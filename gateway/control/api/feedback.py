"""Feedback: what people or programs think of an answer. `quality` is computed from it."""

import hashlib
from typing import Annotated, Any

import msgspec
from sqlalchemy import Connection, func, select, update

from gateway.control.api.call import Call, Found, Query
from gateway.control.api.endpoint import Endpoint
from gateway.control.insertion import insert_new
from gateway.control.query.moment import show_moment
from gateway.control.query.page import find_row
from gateway.control.query.view import Feedback
from gateway.control.tables import feedback
from gateway.errors import GatewayError

_MOST = 100  # of one trace


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`score` is 0 (useless) to 1 (perfect). Of a consumer's opinions with the same label the last one counts."""

    score: Annotated[float, msgspec.Meta(ge=0, le=1)]
    label: Annotated[str, msgspec.Meta(max_length=64)] = ""
    comment: Annotated[str, msgspec.Meta(max_length=2000)] = ""


async def give_feedback(call: Call[Query, Opinion]) -> Found:
    """Said again it replaces what was said: a request that is sent twice counts once."""
    scope, consumer, opinion, now = call.caller.scope(), call.caller.consumer, call.body, call.clock()

    def keep(connection: Connection) -> dict[str, Any]:
        row = find_row(connection, scope, call.path["id"])
        if row is None:
            raise GatewayError(1303, "There is no trace with this id, or it is none of yours.")
        id = hashlib.sha256("\0".join((row.id, consumer, opinion.label)).encode()).hexdigest()[:32]
        said = {"score": opinion.score, "comment": opinion.comment, "created": now}
        values = {"id": id, "request": row.id, "consumer": consumer, "label": opinion.label, **said}
        if not connection.execute(update(feedback).where(feedback.c.id == id).values(said)).rowcount:
            _check_number(connection, row.id)
            insert_new(connection, feedback, values)
        return values

    return Found(_show(await call.write(keep)), status=201)


def find_feedback(connection: Connection, request: str) -> list[Feedback]:
    """All that was said of a request, the oldest first."""
    query = select(feedback).where(feedback.c.request == request).order_by(feedback.c.created, feedback.c.id)
    return [_show(row) for row in connection.execute(query).mappings()]


def _check_number(connection: Connection, request: str) -> None:
    given = connection.scalar(select(func.count()).select_from(feedback).where(feedback.c.request == request)) or 0
    if given >= _MOST:
        raise GatewayError(1401, f"A trace holds at most {_MOST} opinions.")


def _show(row: Any) -> Feedback:
    said = {name: row[name] for name in ("id", "consumer", "score", "label", "comment")}
    return Feedback(**said, created=show_moment(row["created"]))


ENDPOINTS = (
    Endpoint(method="POST", path="/api/v1/traces/{id}/feedback", summary="Say what an answer was worth",
             handler=give_feedback, body=Opinion, answer=Feedback, status=201,
             permissions=("feedback:write", "traces:read"), errors=(1303, 1401)),
)  # fmt: skip

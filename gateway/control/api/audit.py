"""The audit log, for administrators."""

from typing import Literal

from gateway.control.api.call import Call, Listed, Page
from gateway.control.api.endpoint import Endpoint
from gateway.control.audit.question import AuditEntry, Question, find_entries
from gateway.control.query.moment import parse_moment
from gateway.errors import GatewayError


class AuditQuery(Page, frozen=True, kw_only=True):
    """`action` may end in a star: `key.*`. `since` and `until` are `2026-11-21T10:00:00Z` or how long ago: `7d`."""

    actor: str = ""
    action: str = ""
    subject: str = ""
    address: str = ""
    outcome: Literal["", "done", "refused"] = ""
    since: str = ""
    until: str = ""


async def list_audit(call: Call[AuditQuery, None]) -> Listed:
    """It tells of everybody, so it is for those alone who may see everything."""
    caller, query = call.caller, call.query
    if not caller.scope().everything:
        text = "The audit log is for administrators: a role with audit:read and projects:all, or the admin address."
        raise GatewayError(1104, text, details={"permission": "projects:all", "role": caller.role})
    wanted = Question(
        query.actor, query.action, query.subject, query.address, query.outcome, _read(call, "since"),
        _read(call, "until"), query.limit, query.cursor,
    )  # fmt: skip
    try:
        entries, cursor = await call.read(lambda connection: find_entries(connection, wanted))
    except ValueError as error:
        raise GatewayError(1219, f"Not allowed: {error}.", param="cursor") from None
    return Listed(entries, cursor, cursor is not None)


def _read(call: Call[AuditQuery, None], name: str) -> int:
    text = getattr(call.query, name)
    try:
        return parse_moment(text, call.clock()) if text else 0
    except ValueError as error:
        raise GatewayError(1219, f"Not allowed: {error}.", param=name) from None


ENDPOINTS = (
    Endpoint(method="GET", path="/api/v1/audit", summary="Who did what to the gateway, the newest first",
             handler=list_audit, query=AuditQuery, answer=AuditEntry, form="list", permissions=("audit:read",)),
)  # fmt: skip

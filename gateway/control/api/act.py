"""What of the admin address stands in the audit log: every call that changes something, and every wrong key."""

from typing import Any

from aiohttp import web

from gateway.control.api.call import Call
from gateway.control.api.endpoint import Endpoint
from gateway.control.audit.entry import Entry

_SUBJECTS = ("consumer", "model", "name")  # of a body; nothing else of it is told, as it may be secret


def describe_act(endpoint: Endpoint, call: Call[Any, Any]) -> Entry:
    """The entry of a call that is about to be done."""
    named = [getattr(call.body, name, "") for name in _SUBJECTS]
    subject = next(filter(None, [*call.path.values(), *map(str, named)]), "")
    details = {"request_id": call.caller.request_id}
    return Entry(
        call.clock(), "admin", f"{endpoint.method} {endpoint.path}", subject, call.caller.address, "done", details
    )


def describe_stranger(request: web.Request, at: int) -> Entry:
    """Somebody showed a key that is not the admin's."""
    return Entry(at, "", "admin.login.failed", request.path[:200], request.remote or "", "refused")

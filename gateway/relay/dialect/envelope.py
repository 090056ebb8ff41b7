"""How an error is said in a dialect: as a whole answer, and as one event inside a stream that has begun.

The envelope's members stand in all of them, so that whoever knows it finds `number`, `code` and `details` in the same
place; what is added is what the clients of an API look for.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from gateway.errors import GatewayError
from gateway.relay.dialect.kind import Dialect

Envelope = Mapping[str, Mapping[str, Any]]

_ANTHROPIC = {
    401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 503: "overloaded_error", 504: "timeout_error",
    529: "overloaded_error",
}  # fmt: skip


def error_body(dialect: Dialect | None, error: GatewayError, request_id: str) -> bytes:
    """What the gateway itself says, as a whole answer."""
    return encode_error(dialect, error.status, error.envelope(request_id))


def encode_error(dialect: Dialect | None, status: int, envelope: Envelope) -> bytes:
    """An envelope as a whole answer in `dialect` (Anthropic: "Errors", `error.type` goes by the status)."""
    if dialect is not None and dialect.shape == "anthropic":
        kind = _ANTHROPIC.get(status, "invalid_request_error" if status < 500 else "api_error")
        error = {**envelope["error"], "type": kind}
        request_id = envelope["meta"]["request_id"]
        return msgspec.json.encode(
            {"type": "error", "error": error, "request_id": request_id, "meta": envelope["meta"]}
        )
    return msgspec.json.encode(envelope)


def error_event(dialect: Dialect, error: GatewayError, request_id: str) -> bytes:
    """The failure as one event inside a stream that has begun. Clients raise on it; no end marker follows."""
    if dialect.shape == "openai":
        return b"data: " + error.body(request_id) + b"\n\n"
    if dialect.shape == "anthropic":
        return b"event: error\ndata: " + error_body(dialect, error, request_id) + b"\n\n"
    told = error.envelope(request_id)
    flat = {"type": "error", "code": told["error"]["code"], "message": error.message, "param": error.param}
    return b"event: error\ndata: " + msgspec.json.encode({**flat, **told}) + b"\n\n"

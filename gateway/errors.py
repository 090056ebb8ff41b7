"""The error catalogue and the one envelope in which a client hears of a failure.

A `GatewayError` is what the gateway itself says to a client. Everything else that is raised is a bug: it becomes
number 1900 and is logged. The envelope is understood by OpenAI clients (`message`, `type`, `param`, `code`) and
carries the catalogue (`number`, `category`, `details`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One line of the catalogue. `code` is OpenAI's slug where one exists; `cure` says what the reader can do."""

    number: int
    status: int
    code: str
    title: str
    cure: str

    @property
    def category(self) -> str:
        return _CATEGORIES[self.number // 100]

    @property
    def type(self) -> str:
        return _TYPES.get(self.number // 100, "server_error")


_CATEGORIES = {
    10: "AUTHENTICATION", 11: "AUTHORIZATION", 12: "VALIDATION", 13: "NOT_FOUND", 14: "CONFLICT",
    15: "RATE_LIMIT", 16: "STORE", 17: "UPSTREAM", 18: "TIMEOUT", 19: "INTERNAL",
}  # fmt: skip
_TYPES = {
    10: "authentication_error", 11: "permission_error", 12: "invalid_request_error", 13: "invalid_request_error",
    14: "invalid_request_error", 15: "rate_limit_error",
}  # fmt: skip

_ENTRIES = (
    Entry(1001, 401, "missing_credentials", "No credentials were given", "Send a key: Authorization: Bearer tk_…"),
    Entry(1002, 401, "invalid_api_key", "The key is not known", "Check the key; it may have been revoked."),
    Entry(1003, 401, "expired_api_key", "The key has expired", "Ask for a new key."),
    Entry(1004, 400, "ambiguous_credentials", "More than one credential was given",
          "Send exactly one of Authorization, x-api-key, api-key."),
    Entry(1005, 401, "malformed_credentials", "The credential cannot be read", "Send: Authorization: Bearer <key>."),
    Entry(1101, 403, "model_not_allowed", "The key may not use this model", "GET /v1/models lists what it may use."),
    Entry(1102, 403, "route_not_allowed", "The key may not use this route", "Ask the operator for the scope."),
    Entry(1103, 403, "origin_not_allowed", "This web origin may not call the gateway",
          "Ask the operator to list the origin under `cors`."),
    Entry(1104, 403, "permission_missing", "The role may not do this", "Ask the operator for a role that may."),
    Entry(1105, 403, "project_not_allowed", "This belongs to other projects", "Use a key of the project."),
    Entry(1106, 403, "address_not_allowed", "This address may not call", "Ask the operator to allow the address."),
    Entry(1107, 403, "method_not_in_scope", "The key may not use this method", "Use a method of the key's scope."),
    Entry(1201, 400, "malformed_request", "The request is not valid HTTP/1.1", "Use a conforming HTTP client."),
    Entry(1202, 400, "invalid_host", "The request names no host, or more than one", "Send one Host header."),
    Entry(1203, 400, "invalid_framing", "The length of the body is ambiguous",
          "Send one Content-Length, or Transfer-Encoding: chunked, never both."),
    Entry(1204, 400, "invalid_header", "A header name or value is not allowed",
          "Names are letters, digits and dashes; values hold no control characters."),
    Entry(1205, 400, "invalid_path", "The path is not allowed",
          "Send a plain path without encoded slashes, backslashes or empty segments."),
    Entry(1206, 431, "headers_too_large", "The header section is too large", "Send fewer or shorter headers."),
    Entry(1207, 405, "method_not_allowed", "The method is not allowed here", "Use a method of the route."),
    Entry(1208, 413, "request_too_large", "The body is larger than allowed", "Send a shorter request."),
    Entry(1209, 400, "invalid_http_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here",
          "Put an ingress with HTTP/2 in front if you need it."),
    Entry(1210, 400, "invalid_json", "The body is not valid JSON", "Send one JSON object in UTF-8."),
    Entry(1211, 400, "duplicate_field", "A field stands twice in the body", "Send each field once."),
    Entry(1212, 400, "json_too_deep", "The JSON is nested too deeply", "Nest less."),
    Entry(1213, 400, "missing_field", "A required field is missing", "Add the field."),
    Entry(1214, 400, "invalid_field", "A field has a value that is not allowed", "Correct the field."),
    Entry(1215, 415, "unsupported_encoding", "Compressed request bodies are not accepted",
          "Send the body without Content-Encoding."),
    Entry(1217, 417, "expectation_failed", "The Expect header cannot be met", "Send no Expect, or 100-continue."),
    Entry(1219, 400, "invalid_query", "The query of the address is not allowed", "Correct the query, or send less of it."),
    Entry(1220, 400, "unknown_field", "A field is not known here", "Remove the field, or check how it is spelled."),
    Entry(1301, 404, "route_not_found", "No route has this path", "Check the path; the gateway's routes are closed."),
    Entry(1302, 404, "model_not_found", "No such model", "GET /v1/models lists what may be used."),
    Entry(1303, 404, "not_found", "No such thing", "Check the id."),
    Entry(1401, 409, "conflict", "This cannot be done to it as it is", "Read why, and ask for something else."),
    Entry(1402, 412, "precondition_failed", "What the request asks for has changed, or is not what it expects",
          "Fetch it anew, without If-Match and If-Unmodified-Since."),
    Entry(1501, 429, "rate_limit_exceeded", "Too many requests for this tier", "Wait as long as Retry-After says."),
    Entry(1502, 429, "insufficient_quota", "The month's quota is used up",
          "Wait for the next month, or ask for a larger tier."),
    Entry(1503, 400, "request_exceeds_limit", "The request costs more than the limit can ever allow",
          "Send a smaller request, or ask for a larger tier."),
    Entry(1508, 429, "too_many_failed_logins", "Too many logins from this address have failed",
          "Wait as long as Retry-After says, then send a valid key."),
    Entry(1601, 503, "ledger_unavailable", "The quota ledger does not answer", "Try again in a moment."),
    Entry(1602, 503, "directory_unavailable", "The directory of keys does not answer", "Try again in a moment."),
    Entry(1604, 503, "key_store_unavailable", "Keys cannot be changed now", "Try again in a moment."),
    Entry(1701, 502, "upstream_unreachable", "The model server cannot be reached", "Try again; tell the operator."),
    Entry(1702, 502, "upstream_reset", "The model server closed the connection without an answer", "Try again."),
    Entry(1703, 502, "upstream_malformed", "The model server's answer is not valid HTTP", "Tell the operator."),
    Entry(1704, 502, "upstream_header_too_large", "The model server's headers are too large", "Tell the operator."),
    Entry(1705, 502, "upstream_truncated", "The model server's answer broke off", "Try again."),
    Entry(1706, 503, "no_endpoint", "No endpoint of this backend is healthy", "Try again in a moment."),
    Entry(1707, 503, "engine_not_ready", "The model's engine is not ready", "Try again in a moment."),
    Entry(1708, 503, "engine_failed", "The model's engine has failed to start", "Tell the operator."),
    Entry(1709, 503, "queue_full", "Too many requests wait for this model", "Try again as Retry-After says."),
    Entry(1710, 502, "upstream_empty", "The model server sent an empty answer", "Try again; shorten the prompt."),
    Entry(1711, 502, "engine_died", "The model's engine died while it worked on the request", "Try again."),
    Entry(1712, 502, "upstream_body_too_large", "The model server's answer is too large to be held",
          "Ask for less, or stream."),
    Entry(1801, 504, "connect_timeout", "The model server could not be reached in time", "Try again."),
    Entry(1802, 503, "queue_timeout", "The request waited too long for a free slot", "Try again later."),
    Entry(1803, 408, "header_timeout", "The request's head did not arrive in time", "Send the request faster."),
    Entry(1804, 408, "body_timeout", "The request's body did not arrive in time", "Send the request faster."),
    Entry(1805, 504, "first_byte_timeout", "The model server did not begin to answer in time", "Try again."),
    Entry(1806, 504, "idle_timeout", "The model server stopped in the middle of its answer", "Try again."),
    Entry(1807, 504, "total_timeout", "The request took longer than allowed", "Ask for less, or stream."),
    Entry(1808, 504, "load_timeout", "The model did not load in time", "Try again."),
    Entry(1809, 504, "write_timeout", "The client did not read its answer", "Read the answer faster."),
    Entry(1810, 504, "not_cached", "No stored answer may be used, and only a stored one was asked for",
          "Ask without Cache-Control: only-if-cached."),
    Entry(1900, 500, "internal_error", "The gateway failed", "Try again; tell the operator the request id."),
    Entry(1901, 503, "draining", "The gateway is shutting down", "Try again in a moment."),
    Entry(1902, 503, "too_many_connections", "The gateway has too many connections", "Try again in a moment."),
    Entry(1903, 502, "worker_lost", "The gateway's worker died while it worked on the request", "Try again."),
)  # fmt: skip

CATALOGUE: Mapping[int, Entry] = {entry.number: entry for entry in _ENTRIES}


class GatewayError(Exception):
    """A refusal or failure that the client is told about, by its number in the catalogue.

    `message` replaces the catalogue's title where the moment knows more; `param` names the offending field;
    `details` are machine-readable facts; `headers` go on the answer (`Retry-After`, `WWW-Authenticate`, …).
    """

    def __init__(
        self,
        number: int,
        message: str = "",
        *,
        param: str | None = None,
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.entry = CATALOGUE[number]
        self.message = message or f"{self.entry.title}. {self.entry.cure}"
        self.param = param
        self.details = details or {}
        self.headers = headers or {}
        super().__init__(f"{number} {self.message}")

    @property
    def number(self) -> int:
        return self.entry.number

    @property
    def status(self) -> int:
        return self.entry.status

    def body(self, request_id: str, now: datetime | None = None) -> bytes:
        """The envelope as JSON. `now` is wall time in UTC, given by tests."""
        stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        error = {
            "message": self.message, "type": self.entry.type, "param": self.param, "code": self.entry.code,
            "number": self.number, "category": self.entry.category, "details": self.details,
        }  # fmt: skip
        meta = {"request_id": request_id, "timestamp": stamp, "documentation_url": f"/errors/{self.number}"}
        return msgspec.json.encode({"error": error, "meta": meta})

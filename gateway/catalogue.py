"""The error catalogue: every number that the gateway may tell, why it is told, and what helps.

The hundreds are ranges: 10 authentication, 11 authorization, 12 validation, 13 not found, 14 conflict, 15 limits,
16 stores, 17 upstreams, 18 timeouts, 19 the gateway itself. The README's table is made of it (`tollkeeper errors
--markdown`), and a test sees to it that each number is spoken somewhere.
"""

from collections.abc import Mapping

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """One line of the catalogue. `code` is OpenAI's slug where one exists; `cure` says what the reader can do.

    `wait` is `Retry-After` in seconds, where the moment knows no better: for what passes by itself. `is_final`: it does
    not pass within minutes, and clients that would send the request again by themselves are told not to.
    """

    number: int
    status: int
    code: str
    title: str
    cure: str
    cause: str = ""
    wait: int = 0
    is_final: bool = False

    @property
    def headers(self) -> dict[str, str]:
        """What every answer with this number says, if it says nothing else; `x-should-retry` is OpenAI's."""
        told = {"Retry-After": str(self.wait)} if self.wait else {}
        return {**told, "x-should-retry": "false"} if self.is_final else told

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
    Entry(1001, 401, "missing_credentials", "No credentials were given", "Send a key: Authorization: Bearer tk_…",
          cause="The request carries no key, token or signature, and the route wants one."),
    Entry(1002, 401, "invalid_api_key", "The key is not known", "Check the key; it may have been revoked.",
          cause="No consumer holds it: mistyped, revoked, or of another gateway."),
    Entry(1003, 401, "expired_api_key", "The key has expired", "Ask for a new key.", cause="Its date has passed."),
    Entry(1004, 400, "ambiguous_credentials", "More than one credential was given",
          "Send exactly one of Authorization, x-api-key, api-key.",
          cause="Two headers carry different credentials, so it is not clear who is calling."),
    Entry(1005, 401, "malformed_credentials", "The credential cannot be read", "Send: Authorization: Bearer <key>.",
          cause="The header is empty, too long, or not of the form that its scheme wants."),
    Entry(1006, 401, "invalid_token", "The token is not valid", "Get a new token from its issuer.",
          cause="Its shape, its signature or a claim is not what the gateway takes; the message says which."),
    Entry(1007, 401, "expired_token", "The token has expired", "Get a new token from its issuer.",
          cause="Its `exp` has passed."),
    Entry(1008, 401, "token_not_yet_valid", "The token is not valid yet", "Wait, or compare the clocks.",
          cause="Its `nbf` or `iat` lies ahead: the issuer's clock and ours differ."),
    Entry(1009, 401, "unknown_signing_key", "The token's key is not known", "Get a new token from its issuer.",
          cause="Its `kid` is not in the key set: the key was withdrawn, is too new, or is another issuer's."),
    Entry(1010, 401, "invalid_signature", "The signature is not right", "Check the secret and what is signed.",
          cause="The credential is not known, or the request is not the one that was signed."),
    Entry(1011, 401, "replayed_request", "This request was sent before", "Sign each request with a new nonce.",
          cause="Its nonce was used already, by the client or by somebody who saw it."),
    Entry(1012, 401, "stale_request", "The signature is too old or too early", "Sign anew; compare the clocks.",
          cause="Its timestamp is further from the gateway's clock than the window allows."),
    Entry(1013, 401, "wrong_audience", "The token is for others", "Ask the issuer for a token for this gateway.",
          cause="Its `aud` or `iss` is not the one that the gateway wants."),
    Entry(1101, 403, "model_not_allowed", "The key may not use this model", "GET /v1/models lists what it may use.",
          cause="The key's or the consumer's `models` do not hold it."),
    Entry(1102, 403, "route_not_allowed", "The key may not use this route", "Ask the operator for the scope.",
          cause="The key's or the consumer's `routes` do not hold the path."),
    Entry(1103, 403, "origin_not_allowed", "This web origin may not call the gateway",
          "Ask the operator to list the origin under `cors`.",
          cause="A web page of an origin that is not listed opened a WebSocket."),
    Entry(1104, 403, "permission_missing", "The role may not do this", "Ask the operator for a role that may.",
          cause="The route asks for a permission that the caller's role, or its token's scopes, lack."),
    Entry(1105, 403, "project_not_allowed", "This belongs to other projects", "Use a key of the project.",
          cause="The model or the route is reserved for projects that the key is not of."),
    Entry(1106, 403, "address_not_allowed", "This address may not call", "Ask the operator to allow the address.",
          cause="It is denied, or not among those that are allowed."),
    Entry(1107, 403, "method_not_in_scope", "The key may not use this method", "Use a method of the key's scope.",
          cause="The key's or the consumer's `methods` do not hold it."),
    Entry(1108, 403, "model_load_not_allowed", "The model is not loaded, and the tier may not load it",
          "Use a model that is loaded (GET /v1/models tells), or ask for a tier that may load.",
          cause="The tier's `may_load` or `may_evict` is off, and the model's engine is not in memory.", is_final=True),
    Entry(1201, 400, "malformed_request", "The request is not valid HTTP/1.1", "Use a conforming HTTP client.",
          cause="The bytes break the grammar of RFC 9112."),
    Entry(1202, 400, "invalid_host", "The request names no host, or more than one", "Send one Host header.",
          cause="Host is missing, stands twice, or is no host."),
    Entry(1203, 400, "invalid_framing", "The length of the body is ambiguous",
          "Send one Content-Length, or Transfer-Encoding: chunked, never both.",
          cause="Content-Length and Transfer-Encoding contradict each other, or stand twice."),
    Entry(1204, 400, "invalid_header", "A header name or value is not allowed",
          "Names are letters, digits and dashes; values hold no control characters.",
          cause="It holds characters that servers read differently."),
    Entry(1205, 400, "invalid_path", "The path is not allowed",
          "Send a plain path without encoded slashes, backslashes or empty segments.",
          cause="It holds what servers resolve differently: an encoded slash, a backslash, a control character."),
    Entry(1206, 431, "headers_too_large", "The header section is too large", "Send fewer or shorter headers.",
          cause="It exceeds `limits.header` or `limits.headers`."),
    Entry(1207, 405, "method_not_allowed", "The method is not allowed here", "Use a method of the route.",
          cause="The path exists, for other methods."),
    Entry(1208, 413, "request_too_large", "The body is larger than allowed", "Send a shorter request.",
          cause="It exceeds `limits.body`, or the limit of the route."),
    Entry(1209, 400, "invalid_http_version", "Only HTTP/1.1 and HTTP/1.0 are spoken here",
          "Put an ingress with HTTP/2 in front if you need it.", cause="The client speaks another version of HTTP."),
    Entry(1210, 400, "invalid_json", "The body is not valid JSON", "Send one JSON object in UTF-8.",
          cause="It does not parse, is not UTF-8, or is no object."),
    Entry(1211, 400, "duplicate_field", "A field stands twice in the body", "Send each field once.",
          cause="Parsers differ in which of the two they take."),
    Entry(1212, 400, "json_too_deep", "The JSON is nested too deeply", "Nest less.",
          cause="It exceeds `limits.json_depth`."),
    Entry(1213, 400, "missing_field", "A required field is missing", "Add the field.",
          cause="The field that `param` names is not there."),
    Entry(1214, 400, "invalid_field", "A field has a value that is not allowed", "Correct the field.",
          cause="The field that `param` names is of a wrong type or out of range."),
    Entry(1215, 415, "unsupported_encoding", "Compressed request bodies are not accepted",
          "Send the body without Content-Encoding.", cause="What it expands to cannot be bounded before it is read."),
    Entry(1217, 417, "expectation_failed", "The Expect header cannot be met", "Send no Expect, or 100-continue.",
          cause="Only 100-continue is known."),
    Entry(1219, 400, "invalid_query", "The query of the address is not allowed",
          "Correct the query, or send less of it.",
          cause="A parameter is unknown, stands twice, or has a value that is not allowed."),
    Entry(1220, 400, "unknown_field", "A field is not known here", "Remove the field, or check how it is spelled.",
          cause="The route takes only fields that it knows."),
    Entry(1221, 400, "poison_request", "This request has taken the model's engine down twice",
          "Change the request; tell the operator.", is_final=True,
          cause="The engine died both times while it worked on this very body. It is refused for an hour."),
    Entry(1222, 400, "invalid_form", "The form cannot be read",
          "Send multipart/form-data as RFC 7578 has it: one boundary, plain names.",
          cause="Its parts are not told apart clearly, so servers could find another model in it."),
    Entry(1301, 404, "route_not_found", "No route has this path", "Check the path; the gateway's routes are closed.",
          cause="The path is in no `routes` of the configuration."),
    Entry(1302, 404, "model_not_found", "No such model", "GET /v1/models lists what may be used.",
          cause="No entry of `models` has this name, or the key may not see it."),
    Entry(1303, 404, "not_found", "No such thing", "Check the id.", cause="Nothing has this id."),
    Entry(1401, 409, "conflict", "This cannot be done to it as it is", "Read why, and ask for something else.",
          cause="It is in a state that does not allow this.", is_final=True),
    Entry(1402, 412, "precondition_failed", "What the request asks for has changed, or is not what it expects",
          "Fetch it anew, without If-Match and If-Unmodified-Since.",
          cause="An If-Match or If-Unmodified-Since does not hold.", is_final=True),
    Entry(1501, 429, "rate_limit_exceeded", "Too many requests for this tier", "Wait as long as Retry-After says.",
          cause="More was asked for than the rate and its burst allow; `details` names the rule."),
    Entry(1502, 429, "insufficient_quota", "The month's quota is used up",
          "Wait for the next month, or ask for a larger tier.", cause="The units of the month are spent.",
          is_final=True),
    Entry(1503, 400, "request_exceeds_limit", "The request costs more than the limit can ever allow",
          "Send a smaller request, or ask for a larger tier.",
          cause="It costs more units, tokens or money than the limit holds at all, however long one waits."),
    Entry(1504, 429, "too_many_at_once", "Too many requests at once", "Wait for one of them to end.",
          cause="So many requests of this kind are still being answered; `details` names the rule."),
    Entry(1505, 429, "token_rate_exceeded", "Too many tokens for this tier",
          "Wait as long as Retry-After says; a shorter prompt or a smaller max_tokens fits sooner.",
          cause="Prompt and longest answer are reserved before a request is sent, and they do not fit."),
    Entry(1506, 429, "token_quota_exceeded", "The month's tokens are used up",
          "Wait for the next month, send a smaller max_tokens, or ask for a larger tier.",
          cause="What is left of the month does not hold the prompt and the longest answer.", is_final=True),
    Entry(1507, 429, "insufficient_quota", "The month's budget is used up",
          "Wait for the next month, send a smaller max_tokens, or ask for a larger budget.",
          cause="What is left of the money does not pay for the prompt and the longest answer.", is_final=True),
    Entry(1508, 429, "too_many_failed_logins", "Too many logins from this address have failed",
          "Wait as long as Retry-After says, then send a valid key.",
          cause="Somebody there sends credentials that are wrong, again and again."),
    Entry(1601, 503, "ledger_unavailable", "The quota ledger does not answer", "Try again in a moment.",
          cause="The authority that counts is down, and the tier says `closed` for this case.", wait=1),
    Entry(1602, 503, "directory_unavailable", "The directory of keys does not answer", "Try again in a moment.",
          cause="The control process or its store is away; keys that are known go on.", wait=1),
    Entry(1603, 503, "key_set_unavailable", "The keys of the token's issuer are not known", "Try again in a moment.",
          cause="The issuer's key set could not be fetched since the gateway started.", wait=1),
    Entry(1604, 503, "key_store_unavailable", "Keys cannot be changed now", "Try again in a moment.",
          cause="The control process or its store is away.", wait=1),
    Entry(1701, 502, "upstream_unreachable", "The model server cannot be reached", "Try again; tell the operator.",
          cause="It refuses connections, or its name does not resolve; nothing was sent.", wait=2),
    Entry(1702, 502, "upstream_reset", "The model server closed the connection without an answer", "Try again.",
          cause="It died, or gave up on the request.", wait=1),
    Entry(1703, 502, "upstream_malformed", "The model server's answer is not valid HTTP", "Tell the operator.",
          cause="It speaks another protocol, or is broken.", wait=5),
    Entry(1704, 502, "upstream_header_too_large", "The model server's headers are too large", "Tell the operator.",
          cause="It sends more than a head may hold.", is_final=True),
    Entry(1705, 502, "upstream_truncated", "The model server's answer broke off", "Try again.",
          cause="The connection ended before the answer did.", wait=1),
    Entry(1706, 503, "no_endpoint", "No endpoint of this backend is healthy", "Try again in a moment.",
          cause="Every endpoint has failed its health check, or failed too often.", wait=5),
    Entry(1707, 503, "engine_not_ready", "The model's engine is not ready", "Try again in a moment.",
          cause="It is being started, stopped or replaced.", wait=5),
    Entry(1708, 503, "engine_failed", "The model's engine has failed to start", "Tell the operator.",
          cause="It ended several times before it was ready; `tollkeeper status` shows its last words.", wait=30),
    Entry(1709, 503, "queue_full", "Too many requests wait for this model", "Try again as Retry-After says.",
          cause="All slots are taken, and the queue is full.", wait=1),
    Entry(1710, 502, "upstream_empty", "The model server sent an empty answer", "Try again; shorten the prompt.",
          cause="Engines answer so to a prompt that is too long for them.", wait=1),
    Entry(1711, 502, "engine_died", "The model's engine died while it worked on the request", "Try again.",
          cause="It crashed, ran out of memory, or was killed.", wait=2),
    Entry(1712, 502, "upstream_body_too_large", "The model server's answer is too large to be held",
          "Ask for less, or stream.", cause="A plugin wants the whole of it, and it exceeds `limits.answer`.",
          is_final=True),
    Entry(1714, 503, "no_memory_for_model", "Other models take the memory that this one needs",
          "Use a model that is loaded (GET /v1/models tells), or try again later.",
          cause="Others would have to be unloaded for it, and the tier may not cause that (`may_evict`).", wait=30),
    Entry(1715, 502, "upstream_error", "The model server answered with an error",
          "Read the message; it is the server's own.",
          cause="It said so in a way that clients would not understand; the status is the one that it sent.", wait=1),
    Entry(1716, 503, "model_too_large", "The model does not fit into the memory of the gateway", "Tell the operator.",
          cause="It takes more than `memory` leaves beside the models that are pinned.", is_final=True),
    Entry(1801, 504, "connect_timeout", "The model server could not be reached in time", "Try again.",
          cause="No connection within `timeouts.connect`.", wait=2),
    Entry(1802, 503, "queue_timeout", "The request waited too long for a free slot", "Try again later.",
          cause="All slots stayed taken for `timeouts.queue`.", wait=1),
    Entry(1803, 408, "header_timeout", "The request's head did not arrive in time", "Send the request faster.",
          cause="It took longer than `timeouts.header`."),
    Entry(1804, 408, "body_timeout", "The request's body did not arrive in time", "Send the request faster.",
          cause="It paused longer than `timeouts.body`, or came slower than `limits.body_rate`."),
    Entry(1805, 504, "first_byte_timeout", "The model server did not begin to answer in time", "Try again.",
          cause="No byte of an answer within `first_byte`.", wait=2),
    Entry(1806, 504, "idle_timeout", "The model server stopped in the middle of its answer", "Try again.",
          cause="Nothing came for `idle`.", wait=1),
    Entry(1807, 504, "total_timeout", "The request took longer than allowed", "Ask for less, or stream.",
          cause="It ran longer than `total`.", is_final=True),
    Entry(1808, 504, "load_timeout", "The model did not load in time", "Try again.",
          cause="It was not ready within `timeouts.load`.", wait=10),
    Entry(1809, 504, "write_timeout", "The client did not read its answer", "Read the answer faster.",
          cause="It read nothing for `timeouts.write`.", is_final=True),
    Entry(1810, 504, "not_cached", "No stored answer may be used, and only a stored one was asked for",
          "Ask without Cache-Control: only-if-cached.", cause="The request says only-if-cached.", is_final=True),
    Entry(1900, 500, "internal_error", "The gateway failed", "Try again; tell the operator the request id.",
          cause="A bug; the log has it under the request id."),
    Entry(1901, 503, "draining", "The gateway is shutting down", "Try again in a moment.",
          cause="It was told to end, or to make room for a new configuration.", wait=1),
    Entry(1902, 503, "too_many_connections", "The gateway has too many connections", "Try again in a moment.",
          cause="`limits.connections` or `limits.connections_per_client` is reached.", wait=1),
    Entry(1903, 502, "worker_lost", "The gateway's worker died while it worked on the request", "Try again.",
          cause="It was killed; what it had sent is charged.", wait=1),
    Entry(1904, 503, "overloaded", "The gateway has more to do than it can", "Try again as Retry-After says.",
          cause="The worker's event loop falls behind (`limits.lag`): the lowest classes are refused first.", wait=1),
)  # fmt: skip

CATALOGUE: Mapping[int, Entry] = {entry.number: entry for entry in _ENTRIES}

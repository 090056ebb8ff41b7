"""What can go wrong between the gateway and its two peers, as exceptions. The client's faults carry a number of the
error catalogue, the upstream's a `kind`; what is said to the client about either is not decided here.
"""


class BadRequest(Exception):
    """The client's bytes are wrong, too many or too late. `number` is a number of the error catalogue.

    `limit` is bytes where there were too many of them, else 0.
    """

    def __init__(self, number: int, message: str, limit: int = 0) -> None:
        super().__init__(message)
        self.number = number
        self.message = message
        self.limit = limit


class BodyTooLarge(BadRequest):
    """The body is larger than the reader's limit, by its Content-Length or by count."""

    def __init__(self, limit: int) -> None:
        super().__init__(1208, f"The body is larger than {limit} bytes.", limit)


class BodyTimeout(BadRequest):
    """The body stopped arriving, or came slower than the minimum rate."""

    def __init__(self) -> None:
        super().__init__(1804, "The body did not arrive in time.")


class ClientGone(Exception):
    """The client's connection is closed; nothing more can be sent."""


class ClientStalled(Exception):
    """The client did not read its answer for `write_timeout` seconds."""


class UpstreamError(Exception):
    """An exchange with the upstream failed.

    `kind` is one word for metrics; `sent`: request bytes left, so the upstream may have acted on them; `got`: a byte
    of the answer came, so it certainly has.
    """

    kind = "error"

    def __init__(self, message: str, *, kind: str = "", sent: bool = True, got: bool = False) -> None:
        super().__init__(message)
        self.kind = kind or type(self).kind
        self.sent = sent
        self.got = got


class ConnectFailed(UpstreamError):
    """No connection: `kind` is refused, dns, tls or unreachable."""

    kind = "unreachable"


class ConnectTimeout(UpstreamError):
    """No connection in time, name lookup and TLS handshake included."""

    kind = "connect_timeout"


class ResetBeforeResponse(UpstreamError):
    """The connection ended before the head of the answer was there; `got` tells whether it had begun."""

    kind = "reset"


class BadResponse(UpstreamError):
    """What came is not HTTP/1.x, or its length is ambiguous (RFC 9112, 6.3)."""

    kind = "malformed"


class HeaderTooLarge(UpstreamError):
    """The head of the answer is larger than the limits allow."""

    kind = "header_too_large"


class ResponseTooLarge(UpstreamError):
    """The body is larger than the collector's limit."""

    kind = "body_too_large"


class Truncated(UpstreamError):
    """The connection ended before the announced end of the body."""

    kind = "truncated"


class FirstByteTimeout(UpstreamError):
    """No body byte within `first_byte_timeout` of the request's end."""

    kind = "first_byte_timeout"


class IdleTimeout(UpstreamError):
    """Nothing moved for `idle_timeout` in the middle of a body."""

    kind = "idle_timeout"


class TotalTimeout(UpstreamError):
    """The exchange ran past `total_deadline`."""

    kind = "total_timeout"

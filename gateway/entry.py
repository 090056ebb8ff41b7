"""One line of the error catalogue."""

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
        return CATEGORIES[self.number // 100]

    @property
    def type(self) -> str:
        return _TYPES.get(self.number // 100, "server_error")


CATEGORIES = {
    10: "AUTHENTICATION", 11: "AUTHORIZATION", 12: "VALIDATION", 13: "NOT_FOUND", 14: "CONFLICT",
    15: "RATE_LIMIT", 16: "STORE", 17: "UPSTREAM", 18: "TIMEOUT", 19: "INTERNAL",
}  # fmt: skip
_TYPES = {
    10: "authentication_error", 11: "permission_error", 12: "invalid_request_error", 13: "invalid_request_error",
    14: "invalid_request_error", 15: "rate_limit_error",
}  # fmt: skip

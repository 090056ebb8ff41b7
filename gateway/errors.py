"""The error catalogue and the one envelope in which a client hears of a failure.

A `GatewayError` is what the gateway itself says to a client. Everything else that is raised is a bug: it becomes
number 1900 and is logged. The envelope is understood by OpenAI clients (`message`, `type`, `param`, `code`) and
carries the catalogue (`number`, `category`, `details`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.catalogue import CATALOGUE, Entry

__all__ = ["CATALOGUE", "Entry", "GatewayError"]

_HEADERS = {number: entry.headers for number, entry in CATALOGUE.items()}


class GatewayError(Exception):
    """A refusal or failure that the client is told about, by its number in the catalogue.

    `message` replaces the catalogue's title where the moment knows more; `param` names the offending field;
    `details` are machine-readable facts, made plain where they have a unit of the configuration; `headers` go on the
    answer (`Retry-After`, `WWW-Authenticate`, …) with those of the catalogue's entry, which they replace.
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
        self.details = {name: _make_plain(value) for name, value in details.items()} if details else {}
        self.headers = {**_HEADERS[number], **(headers or {})}
        super().__init__(f"{number} {self.message}")

    @property
    def number(self) -> int:
        return self.entry.number

    @property
    def status(self) -> int:
        return self.entry.status

    def body(self, request_id: str, now: datetime | None = None) -> bytes:
        """The envelope as JSON. `now` is wall time in UTC, given by tests."""
        return msgspec.json.encode(self.envelope(request_id, now))

    def envelope(self, request_id: str, now: datetime | None = None) -> dict[str, dict[str, Any]]:
        """The envelope, for those who say it otherwise."""
        stamp = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
        error = {
            "message": self.message, "type": self.entry.type, "param": self.param, "code": self.entry.code,
            "number": self.number, "category": self.entry.category, "details": self.details,
        }  # fmt: skip
        meta = {"request_id": request_id, "timestamp": stamp, "documentation_url": f"/errors/{self.number}"}
        return {"error": error, "meta": meta}


def _make_plain(value: Any) -> Any:
    """`Seconds`, `Bytes` and their kin as what can be encoded: by their own word for it."""
    return value.plain() if hasattr(value, "plain") else value

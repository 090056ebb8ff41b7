"""Journal records for tests."""

from typing import Any

from gateway.journal import Closed, Opened

NOON = 1_795_262_400_000_000  # 2026-11-21 12:00 UTC in unix microseconds


def opened(id: str, **fields: Any) -> Opened:
    known: dict[str, Any] = {
        "consumer": "acme", "tier": "pro", "backend": "echo", "quota_key": "month:acme", "period": "2026-11",
        "reserved": 1000, "prompt_estimate": 7,
    }  # fmt: skip
    return Opened(id, NOON, "POST", "/v1/chat/completions", "127.0.0.1", "r", 1, **{**known, **fields})


def opinion(id: str, request: str, **fields: Any) -> dict[str, Any]:
    """A row of feedback on the request with this id."""
    known = {"consumer": "acme", "score": 1.0, "label": "", "comment": "", "created": NOON}
    return {"id": id, "request": request, **known, **fields}


def closed(request: Opened, **fields: Any) -> Closed:
    known: dict[str, Any] = {
        "status": 200, "outcome": "complete", "units": request.reserved, "tokens_in": 7, "tokens_out": 11,
        "tokens_source": "counted",
    }  # fmt: skip
    return Closed(request, NOON + 5_000, **{**known, **fields})

"""What is logged and how: one line of `key=value` pairs an event, on stderr; requests on stdout, where wanted.

Every line passes one place that escapes control characters (a client cannot forge or colour a line) and takes out
what looks like a credential.
"""

import contextlib
import logging
import sys
from datetime import UTC, datetime

from gateway.journal import Closed
from gateway.redaction import SECRETS, take_out


def set_up(process: str) -> None:
    """Log our own words from INFO and those of libraries from WARNING up to stderr, each line naming `process`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(process))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("tollkeeper").setLevel(logging.INFO)
    logging.captureWarnings(True)


class LineFormatter(logging.Formatter):
    """A record as one line; a traceback is a field of it."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        pairs = {
            "time": _stamp(int(record.created * 1_000_000)),
            "level": record.levelname.lower(),
            "process": self._process,
            "message": record.getMessage(),
        }
        if record.exc_info:
            pairs["traceback"] = self.formatException(record.exc_info)
        return _join(pairs)


def request_line(closed: Closed) -> str:
    """A finished request as one line: a view of its journal record."""
    opened = closed.opened
    pairs = {
        "time": _stamp(closed.finished),
        "request": opened.id,
        "peer": opened.peer,
        "consumer": opened.consumer,
        "tier": opened.tier,
        "method": opened.method,
        "path": opened.path,
        "operation": opened.operation,
        "model": opened.model,
        "backend": opened.backend,
        "provider": opened.provider,
        "status": str(closed.status),
        "error": str(closed.error or ""),
        "outcome": closed.outcome,
        "rule": closed.rule,
        "finish": closed.finish,
        "tokens": f"{closed.tokens_in}+{closed.tokens_out}" if closed.tokens_source != "none" else "",
        "first_ms": _milliseconds(closed.first_token_us),
        "total_ms": _milliseconds(closed.total_us),
        "session": opened.session,
        "user": opened.user,
        "tags": opened.tags,
        "trace": opened.trace,
        "span": opened.span,
    }
    return _join({name: value for name, value in pairs.items() if value})


def print_requests(requests: list[Closed]) -> None:
    """Print finished requests on stdout; a stdout that nobody reads any more is no reason to fail."""
    with contextlib.suppress(OSError):
        sys.stdout.write("".join(f"{request_line(closed)}\n" for closed in requests))
        sys.stdout.flush()


def redact(text: str) -> str:
    """`text` without what looks like a key or a bearer token; a key's public id stays."""
    return take_out(SECRETS, text)


def _join(pairs: dict[str, str]) -> str:
    return " ".join(f"{name}={_quote(redact(value))}" for name, value in pairs.items())


def _quote(value: str) -> str:
    if value.isprintable() and not any(mark in value for mark in ' "=\\'):
        return value
    escaped = (mark if mark.isprintable() and mark not in '"\\' else _escape(mark) for mark in value)
    return f'"{"".join(escaped)}"'


def _escape(mark: str) -> str:
    return f"\\{mark}" if mark in '"\\' else mark.encode("unicode_escape").decode()


def _stamp(microseconds: int) -> str:
    moment = datetime.fromtimestamp(microseconds / 1_000_000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(microseconds: int) -> str:
    return f"{microseconds / 1000:.1f}" if microseconds else ""

"""Optional answer headers: what a request took, and where it went. Worked out when the head of the answer leaves."""

from gateway.exchange import Exchange
from gateway.settings.schema import Headers


def describe(exchange: Exchange, wanted: Headers, now: float) -> None:
    """Add the headers that the configuration wants. `now` is monotonic seconds."""
    lines = exchange.lines
    if wanted.timing:
        upstream = (exchange.answered or exchange.first_byte or now) - exchange.forwarded
        waited = exchange.queued + exchange.loading
        overhead = max(0.0, now - exchange.received - upstream - waited - exchange.connect)
        lines.append(
            f"X-Tollkeeper-Overhead-Ms: {overhead * 1e3:.2f}\r\nX-Tollkeeper-Queue-Ms: {waited * 1e3:.2f}\r\n"
            f"X-Tollkeeper-Upstream-Ms: {upstream * 1e3:.2f}\r\n"
        )
    if wanted.routing and exchange.upstream is not None:
        if exchange.model:
            lines.append(f"X-Tollkeeper-Model: {exchange.model}\r\n")
        lines.append(f"X-Tollkeeper-Backend: {exchange.upstream.backend}\r\n")
        if exchange.detour is not None and exchange.detour.has_fallen:
            lines.append(f"X-Tollkeeper-Fallback: {exchange.detour.origin}\r\n")

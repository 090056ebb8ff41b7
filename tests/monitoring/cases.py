"""What each alert fires of, and what is nearly so and must not fire it, in promtool's notation: a sample every 30 s.

`wait` is how many minutes after the beginning it fires.
"""

from typing import NamedTuple

UP = 'up{job="tollkeeper",instance="a"}'
ALL = 'tollkeeper_requests_total{status="2xx"}'
FAILED = 'tollkeeper_requests_total{status="5xx"}'
OVERHEAD = "tollkeeper_overhead_seconds_bucket"
ADMIN = 'tollkeeper_api_seconds_bucket{door="admin",endpoint="x"'
HOUR, LONG = "x120", "x360"


class Case(NamedTuple):
    alert: str
    wait: int
    bad: dict[str, str]
    good: dict[str, str]


def errors(percent: float, length: str = HOUR) -> dict[str, str]:
    """So many of 10,000 requests in 30 seconds."""
    failed = round(percent * 100)
    return {ALL: f"0+{10_000 - failed}{length}", FAILED: f"0+{failed}{length}", UP: f"1{length}"}


def one(series: str, values: str) -> dict[str, str]:
    """A fault that has a single series, in a gateway that is up."""
    return {series: f"{values}{HOUR}", UP: f"1{HOUR}"}


def quantiles(bucket: str, bounds: tuple[float, float], above: int) -> dict[str, str]:
    """100 observations in 30 seconds, `above` of them between the bounds."""
    name, _, labels = bucket.partition("{")
    start = f"{name}{{{labels}," if labels else f"{name}{{"
    counts = {f"{bounds[0]:g}": 100 - above, f"{bounds[1]:g}": 100, "+Inf": 100}
    return {f'{start}le="{bound}"}}': f"0+{count}{HOUR}" for bound, count in counts.items()} | {UP: f"1{HOUR}"}


def queue(waiting: int) -> dict[str, str]:
    classes = {"low": 1, "high": waiting - 1}
    depths = {f'tollkeeper_queue_depth{{backend="e",class="{name}"}}': count for name, count in classes.items()}
    limit = 'tollkeeper_queue_limit{backend="e"}'
    return {series: f"{n}{HOUR}" for series, n in depths.items()} | {limit: f"100{HOUR}", UP: f"1{HOUR}"}


def disk(free: int) -> dict[str, str]:
    return {"tollkeeper_disk_free_bytes": f"{free}{HOUR}", "tollkeeper_disk_bytes": f"100{HOUR}", UP: f"1{HOUR}"}


def bounded(name: str, taken: int, limit: int = 100) -> dict[str, str]:
    sizes = {f"tollkeeper_{name}_bytes": taken, f"tollkeeper_{name}_limit_bytes": limit, UP: 1}
    return {series: f"{size}{HOUR}" for series, size in sizes.items()}


def endpoints(first: int, second: int) -> dict[str, str]:
    states = {f'tollkeeper_endpoint_up{{backend="b",endpoint="{n}"}}': up for n, up in enumerate((first, second))}
    return {series: f"{up}{HOUR}" for series, up in states.items()} | {UP: f"1{HOUR}"}


CERTIFICATE = 'tollkeeper_certificate_expiry_seconds{certificate="c"}'
RESTARTS = 'tollkeeper_engine_restarts_total{backend="e",reason="exit"}'
DAY = 86_400

CASES = (
    Case("TollkeeperDown", 1, {UP: "0x20"}, {UP: "0 1x20"}),
    Case("TollkeeperDown", 1, {"other": "1x20"}, {UP: "1x20"}),
    Case("TollkeeperErrorRate", 5, errors(6), errors(4)),
    Case("TollkeeperErrorBudgetFast", 2, errors(1.5), errors(1.4)),
    Case("TollkeeperErrorBudgetSlow", 15, errors(0.4, LONG), errors(0.2, LONG)),
    Case("TollkeeperRejections", 4, one('tollkeeper_rejected_total{rule="r",reason="rate"}', "0+3100"),
         one('tollkeeper_rejected_total{rule="r",reason="rate"}', "0+2900")),
    Case("TollkeeperRejections", 4, one('tollkeeper_rejected_total{rule="r",reason="rate"}', "0+3100"),
         one('tollkeeper_rejected_total{rule="r",reason="shadow"}', "0+9000")),
    Case("TollkeeperProxySlow", 5, quantiles(OVERHEAD, (0.5, 1), 6), quantiles(OVERHEAD, (0.5, 1), 4)),
    Case("TollkeeperAdminSlow", 5, quantiles(ADMIN, (1, 2.5), 6), quantiles(ADMIN, (1, 2.5), 4)),
    Case("TollkeeperMonthNearlyUsed", 1, one('tollkeeper_quota_used_ratio{tier="pro"}', "0.91"),
         one('tollkeeper_quota_used_ratio{tier="pro"}', "0.9")),
    Case("TollkeeperMonthNearlyUsed", 1, one('tollkeeper_quota_used_ratio{tier="pro"}', "1"),
         one('tollkeeper_quota_used_ratio{tier="free"}', "1")),
    Case("TollkeeperUpstreamUnavailable", 1, endpoints(0, 0), endpoints(0, 1)),
    Case("TollkeeperEndpointDown", 5, endpoints(1, 0), endpoints(1, 1)),
    Case("TollkeeperEngineCrashLoop", 3, one(RESTARTS, "0 1 2 3 5"), one(RESTARTS, "0 1 2 3")),
    Case("TollkeeperEngineFailed", 1, one('tollkeeper_engine_state{backend="e"}', "6"),
         one('tollkeeper_engine_state{backend="e"}', "5")),
    Case("TollkeeperQueueSaturated", 2, queue(81), queue(80)),
    Case("TollkeeperDatabaseDown", 1, one("tollkeeper_store_up", "0"), one("tollkeeper_store_up", "0 1")),
    Case("TollkeeperTraceLag", 1, one("tollkeeper_trace_lag_seconds", "61"), one("tollkeeper_trace_lag_seconds", "60")),
    Case("TollkeeperTracesDropped", 0, one('tollkeeper_trace_dropped_total{reason="disk"}', "0 1"),
         one('tollkeeper_trace_dropped_total{reason="disk"}', "0")),
    Case("TollkeeperTracesDropped", 0, one('tollkeeper_trace_dropped_total{reason="disk"}', "_ 3"),
         one('tollkeeper_trace_dropped_total{reason="disk"}', "0")),
    Case("TollkeeperJournalsNearlyFull", 1, bounded("journal", 51), bounded("journal", 50)),
    Case("TollkeeperStoreNearlyFull", 5, bounded("store", 91), bounded("store", 90)),
    Case("TollkeeperStoreNearlyFull", 5, bounded("store", 91), bounded("store", 91, 0)),
    Case("TollkeeperDiskNearlyFull", 5, disk(9), disk(10)),
    Case("TollkeeperRedisDown", 1, one('tollkeeper_ledger_up{authority="redis"}', "0"),
         one('tollkeeper_ledger_up{authority="redis"}', "1")),
    Case("TollkeeperLedgerDegraded", 5, one('tollkeeper_ledger_degraded_total{policy="local"}', "0+1"),
         one('tollkeeper_ledger_degraded_total{policy="local"}', "0 5")),
    Case("TollkeeperWorkerRestarts", 0, one("tollkeeper_worker_restarts_total", "0 3"),
         one("tollkeeper_worker_restarts_total", "0 1")),
    Case("TollkeeperControlRestarts", 0, one("tollkeeper_control_restarts_total", "0 3"),
         one("tollkeeper_control_restarts_total", "0 1")),
    Case("TollkeeperReloadFailed", 1, one("tollkeeper_config_reload_success", "0"),
         one("tollkeeper_config_reload_success", "1")),
    Case("TollkeeperCertificateExpires", 5, one(CERTIFICATE, str(14 * DAY - 1)), one(CERTIFICATE, str(14 * DAY))),
    Case("TollkeeperCertificateEnds", 5, one(CERTIFICATE, str(2 * DAY - 1)), one(CERTIFICATE, str(2 * DAY))),
    Case("TollkeeperTelemetryDropped", 5, one('tollkeeper_otel_traces_total{result="dropped"}', "0+1"),
         one('tollkeeper_otel_traces_total{result="sent"}', "0+1")),
    Case("TollkeeperJwksStale", 5, one("tollkeeper_jwks_age_seconds", "21601"),
         one("tollkeeper_jwks_age_seconds", "21600")),
    Case("TollkeeperJwksStale", 6, one("tollkeeper_jwks_refresh_failures_total", "0+1"),
         one("tollkeeper_jwks_refresh_failures_total", "0 1")),
)  # fmt: skip

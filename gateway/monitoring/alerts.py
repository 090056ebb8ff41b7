"""Every alert. Ratios and rates are the fleet's; what belongs to one machine is told of each instance.

A burn rate of 1 uses up the error budget in 30 days. 14.4 uses 2 % of it in an hour, 3 uses 10 % in a day; the shorter
window of each pair ends the alert soon after the errors end (the SRE workbook, "Alerting on SLOs").
"""

from gateway.monitoring.alert import Alert

OBJECTIVE = 0.999  # of all requests are not answered by a 5xx

_DROPPED = "tollkeeper_trace_dropped_total"  # a reason begins to be counted when it first happens
_ERRORS = 'sum(rate(tollkeeper_requests_total{{status="5xx"}}[{0}])) / sum(rate(tollkeeper_requests_total[{0}]))'


def _burns(rate: float, long: str, short: str) -> str:
    share = f"{rate * (1 - OBJECTIVE):.4g}"
    return f"{_ERRORS.format(long)} > {share} and {_ERRORS.format(short)} > {share}"


SERVICE = (
    Alert(
        name="TollkeeperDown", severity="critical", lasting="1m",
        expr='up{job="tollkeeper"} == 0 or absent(up{job="tollkeeper"})',
        summary="The gateway does not answer",
        description="Prometheus cannot scrape {{ $labels.instance }}: the gateway is down, or unreachable.",
    ),
    Alert(
        name="TollkeeperErrorRate", severity="critical", lasting="5m",
        expr=f"{_ERRORS.format('5m')} > 0.05",
        summary="More than 5 % of all requests fail",
        description="{{ $value | humanizePercentage }} of the requests of five minutes were answered by a 5xx.",
    ),
    Alert(
        name="TollkeeperErrorBudgetFast", severity="critical", lasting="2m",
        expr=_burns(14.4, "1h", "5m"),
        summary="The month's error budget would be gone in two days",
        description="{{ $value | humanizePercentage }} of an hour's requests failed; 0.1 % may.",
    ),
    Alert(
        name="TollkeeperErrorBudgetSlow", severity="warning", lasting="15m",
        expr=_burns(3, "1d", "2h"),
        summary="The month's error budget would be gone in ten days",
        description="{{ $value | humanizePercentage }} of a day's requests failed; 0.1 % may.",
    ),
    Alert(
        name="TollkeeperRejections", severity="warning", lasting="2m",
        expr='sum(rate(tollkeeper_rejected_total{reason!="shadow"}[2m])) > 100',
        summary="More than 100 requests a second are refused",
        description="{{ $value | humanize }} requests a second are refused.",
    ),
    Alert(
        name="TollkeeperProxySlow", severity="warning", lasting="5m",
        expr="histogram_quantile(0.95, sum by (le) (rate(tollkeeper_overhead_seconds_bucket[5m]))) > 0.5",
        summary="The gateway itself costs requests more than half a second",
        description="5 % of the requests spend more than {{ $value | humanizeDuration }} in the gateway itself.",
    ),
    Alert(
        name="TollkeeperAdminSlow", severity="warning", lasting="5m",
        expr='histogram_quantile(0.95, sum by (le) (rate(tollkeeper_api_seconds_bucket{door="admin"}[5m]))) > 1',
        summary="The admin API is slow",
        description="5 % of the calls of the admin API take more than {{ $value | humanizeDuration }}.",
    ),
    Alert(
        name="TollkeeperMonthNearlyUsed", severity="warning", lasting="1m",
        expr='tollkeeper_quota_used_ratio{tier!~"$free"} > 0.9',
        summary="A paying consumer's month is nearly used up",
        description="A consumer of tier {{ $labels.tier }} has used {{ $value | humanizePercentage }} of its month.",
    ),
)  # fmt: skip

MODELS = (
    Alert(
        name="TollkeeperUpstreamUnavailable", severity="critical", lasting="1m",
        expr="max by (job, instance, backend) (tollkeeper_endpoint_up) == 0",
        summary="A backend has no endpoint left",
        description="No endpoint of {{ $labels.backend }} is used by {{ $labels.instance }}.",
    ),
    Alert(
        name="TollkeeperEndpointDown", severity="warning", lasting="5m",
        expr="tollkeeper_endpoint_up == 0",
        summary="An endpoint is left alone",
        description="{{ $labels.instance }} does not use {{ $labels.endpoint }} of {{ $labels.backend }}.",
    ),
    Alert(
        name="TollkeeperEngineCrashLoop", severity="critical", lasting="1m",
        expr="sum by (job, instance, backend) (increase(tollkeeper_engine_restarts_total[15m])) > 3",
        summary="An engine dies again and again",
        description="{{ $labels.backend }} on {{ $labels.instance }}: {{ $value | humanize }} starts in 15 minutes.",
    ),
    Alert(
        name="TollkeeperEngineFailed", severity="critical", lasting="1m",
        expr="tollkeeper_engine_state == 6",
        summary="An engine does not start",
        description="{{ $labels.backend }} on {{ $labels.instance }} has failed: its requests are refused.",
    ),
    Alert(
        name="TollkeeperQueueSaturated", severity="warning", lasting="2m",
        expr="sum by (job, instance, backend) (tollkeeper_queue_depth) / (tollkeeper_queue_limit > 0) > 0.8",
        summary="A backend's queue is nearly full",
        description="{{ $labels.backend }} on {{ $labels.instance }}: {{ $value | humanizePercentage }} are taken.",
    ),
)  # fmt: skip

STATE = (
    Alert(
        name="TollkeeperDatabaseDown", severity="critical", lasting="1m",
        expr="tollkeeper_store_up == 0",
        summary="The trace store takes nothing",
        description="{{ $labels.instance }} cannot write to its store. Requests go on; the journals grow.",
    ),
    Alert(
        name="TollkeeperTraceLag", severity="warning", lasting="1m",
        expr="tollkeeper_trace_lag_seconds > {1m}",
        summary="The trace store is behind",
        description="The store of {{ $labels.instance }} lags {{ $value | humanizeDuration }} behind the requests.",
    ),
    Alert(
        name="TollkeeperTracesDropped", severity="critical", lasting="0s",
        expr=f"increase({_DROPPED}[10m]) > 0 or ({_DROPPED} > 0 unless {_DROPPED} offset 10m)",
        summary="Records of requests are lost",
        description="{{ $labels.instance }} lost {{ $value | humanize }} records: {{ $labels.reason }}.",
    ),
    Alert(
        name="TollkeeperJournalsNearlyFull", severity="critical", lasting="1m",
        expr="tollkeeper_journal_bytes / (tollkeeper_journal_limit_bytes > 0) > 0.5",
        summary="Records of requests will soon be lost",
        description="{{ $value | humanizePercentage }} of what journals may take waits on {{ $labels.instance }}.",
    ),
    Alert(
        name="TollkeeperStoreNearlyFull", severity="warning", lasting="5m",
        expr="tollkeeper_store_bytes / (tollkeeper_store_limit_bytes > 0) > 0.9",
        summary="The oldest traces will soon be removed for want of room",
        description="The store of {{ $labels.instance }} has {{ $value | humanizePercentage }} of its size.",
    ),
    Alert(
        name="TollkeeperDiskNearlyFull", severity="critical", lasting="5m",
        expr="tollkeeper_disk_free_bytes / tollkeeper_disk_bytes < 0.1",
        summary="The disk of the state directory is nearly full",
        description="{{ $value | humanizePercentage }} of the disk of {{ $labels.instance }} is free.",
    ),
    Alert(
        name="TollkeeperRedisDown", severity="critical", lasting="1m",
        expr='tollkeeper_ledger_up{authority="redis"} == 0',
        summary="Redis does not answer",
        description="Workers of {{ $labels.instance }} cannot ask Redis: each tier's on_ledger_loss decides meanwhile.",
    ),
    Alert(
        name="TollkeeperLedgerDegraded", severity="warning", lasting="5m",
        expr="sum by (job, instance, policy) (increase(tollkeeper_ledger_degraded_total[2m])) > 0",
        summary="Quotas are counted without Redis",
        description="{{ $labels.instance }}: {{ $value | humanize }} decisions by the policy {{ $labels.policy }}.",
    ),
)  # fmt: skip

PROCESS = (
    Alert(
        name="TollkeeperWorkerRestarts", severity="critical", lasting="0s",
        expr="increase(tollkeeper_worker_restarts_total[15m]) > 2",
        summary="Workers die",
        description="{{ $value | humanize }} workers of {{ $labels.instance }} died in 15 minutes.",
    ),
    Alert(
        name="TollkeeperControlRestarts", severity="warning", lasting="0s",
        expr="increase(tollkeeper_control_restarts_total[15m]) > 2",
        summary="The control process dies",
        description="Control of {{ $labels.instance }} died {{ $value | humanize }} times in 15 minutes.",
    ),
    Alert(
        name="TollkeeperReloadFailed", severity="warning", lasting="1m",
        expr="tollkeeper_config_reload_success == 0",
        summary="The configuration file is not the one in force",
        description="{{ $labels.instance }} refused the last reload and goes on with the file before it.",
    ),
    Alert(
        name="TollkeeperCertificateExpires", severity="warning", lasting="5m",
        expr="tollkeeper_certificate_expiry_seconds < 14 * 86400",
        summary="A certificate ends within two weeks",
        description="{{ $labels.certificate }} on {{ $labels.instance }} ends in {{ $value | humanizeDuration }}.",
    ),
    Alert(
        name="TollkeeperCertificateEnds", severity="critical", lasting="5m",
        expr="tollkeeper_certificate_expiry_seconds < 2 * 86400",
        summary="A certificate ends within two days",
        description="{{ $labels.certificate }} on {{ $labels.instance }} ends in {{ $value | humanizeDuration }}.",
    ),
    Alert(
        name="TollkeeperTelemetryDropped", severity="warning", lasting="5m",
        expr='increase(tollkeeper_otel_traces_total{result="dropped"}[5m]) > 0',
        summary="The OpenTelemetry collector lacks traces",
        description="{{ $labels.instance }} dropped {{ $value | humanize }} traces; its own store has them.",
    ),
    Alert(
        name="TollkeeperJwksStale", severity="warning", lasting="5m",
        expr="tollkeeper_jwks_age_seconds > {6h} or increase(tollkeeper_jwks_refresh_failures_total[15m]) > 2",
        summary="The issuer's keys cannot be fetched",
        description="{{ $labels.instance }} gets no newer key set: tokens signed with a new key are refused.",
    ),
)  # fmt: skip

GROUPS = {"service": SERVICE, "models": MODELS, "state": STATE, "process": PROCESS}
ALERTS = tuple(alert for group in GROUPS.values() for alert in group)

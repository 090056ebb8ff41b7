"""The four dashboards. A panel that is empty on a healthy gateway says so in its note."""

from gateway.monitoring.panel import Dashboard, Panel, Query, quantile, rate, select, total

_STATES = ("stopped", "starting", "ready", "suspect", "stopping", "backoff", "failed")
_FIVES = 'status="5xx"'
_FAILED = rate("requests_total", where=_FIVES)
_PARTS = {
    "upstream_seconds": "upstream", "load_seconds": "loading", "queue_seconds": "waiting for a slot",
    "overhead_seconds": "gateway",
}  # fmt: skip
_EMPTY = "Empty while nothing of the kind has happened."


def _quantiles(histogram: str, by: str = "") -> tuple[Query, ...]:
    name = f"{{{{{by}}}}} " if by else ""
    return tuple(Query(quantile(share, histogram, by), f"{name}p{share * 100:g}") for share in (0.5, 0.95, 0.99))


def _each(expr: str, legend: str) -> tuple[Query, ...]:
    return (Query(expr, legend),)


def _part(histogram: str) -> str:
    """Seconds of it in a request, on average; 0 where no request has any."""
    return f"({rate(f'{histogram}_sum')} or vector(0)) / {rate('request_seconds_count')}"


OVERVIEW = Dashboard("tollkeeper-overview", "Tollkeeper: overview", (
    ("Now", (
        Panel(title="Requests", kind="stat", unit="reqps", width=4, height=4,
              queries=_each(rate("requests_total"), "")),
        Panel(title="Answered by a 5xx", kind="stat", unit="percentunit", width=4, height=4,
              queries=_each(f"({_FAILED} or vector(0)) / {rate('requests_total')}", "")),
        Panel(title="In flight", kind="stat", width=4, height=4, queries=_each(total("inflight"), "")),
        Panel(title="Waiting", kind="stat", width=4, height=4, queries=_each(total("queue_depth"), "")),
        Panel(title="Tokens", kind="stat", unit="cps", width=4, height=4, queries=_each(rate("tokens_total"), "")),
        Panel(title="Gateways", kind="stat", width=4, height=4,
              queries=_each(f"count by (version) ({select('build_info')})", "{{version}}")),
    )),
    ("Traffic", (
        Panel(title="By status", unit="reqps", is_stacked=True, note="0xx: the client left before an answer.",
              queries=_each(rate("requests_total", "status"), "{{status}}")),
        Panel(title="By route", unit="reqps", is_stacked=True,
              queries=_each(rate("requests_total", "route"), "{{route}}")),
        Panel(title="By model", unit="reqps", is_stacked=True,
              queries=_each(rate("requests_total", "model", 'model!=""'), "{{model}}")),
    )),
    ("Errors", (
        Panel(title="5xx, of all requests", unit="percentunit", note=_EMPTY, queries=_each(
            f"{rate('requests_total', 'route', _FIVES)} / {rate('requests_total', 'route')}", "{{route}}")),
        Panel(title="Upstreams", unit="cps", note=_EMPTY,
              queries=_each(rate("upstream_errors_total", "backend, reason"), "{{backend}}: {{reason}}")),
        Panel(title="Refused", unit="cps", note=_EMPTY,
              queries=_each(rate("rejected_total", "reason"), "{{reason}}")),
    )),
    ("Latency", (
        Panel(title="To the last byte", unit="s", queries=_quantiles("request_seconds")),
        Panel(title="To the first token", unit="s", note="Of streams.", queries=_quantiles("first_token_seconds")),
        Panel(title="In the gateway", unit="s", queries=_quantiles("overhead_seconds")),
        Panel(title="Parts of a request, on average", unit="s", is_stacked=True, width=24,
              note="They add up to the whole. The ledger's time is the gateway's.", queries=(
                  *(Query(_part(histogram), name) for histogram, name in _PARTS.items()),
                  Query(f"clamp_min({_part('request_seconds')} - {' - '.join(map(_part, _PARTS))}, 0)", "connecting"),
              )),
    )),
    ("Processes", (
        Panel(title="Memory", unit="bytes", is_stacked=True,
              queries=_each(total("process_memory_bytes", "role"), "{{role}}")),
        Panel(title="Event loops are late", unit="s", queries=(
            Query(f"max by (instance) ({select('loop_lag_seconds')})", "{{instance}}"),)),
        Panel(title="Deaths, stalls, requests shed", unit="cps", queries=(
            Query(rate("worker_restarts_total"), "workers"), Query(rate("control_restarts_total"), "control"),
            Query(rate("loop_stalls_total"), "stalls"), Query(f"{rate('shed_total')} or vector(0)", "shed"),
        )),
        Panel(title="Configuration in force", queries=_each(select("config_generation"), "{{instance}}")),
        Panel(title="Last reload", kind="states", names=("refused", "taken"),
              queries=_each(select("config_reload_success"), "{{instance}}")),
        Panel(title="Certificates end in", unit="dtdurations", note="Empty without TLS.",
              queries=_each(select("certificate_expiry_seconds"), "{{certificate}}")),
    )),
))  # fmt: skip

TIERS = Dashboard("tollkeeper-tiers", "Tollkeeper: tiers and consumers", (
    ("Tiers", (
        Panel(title="Requests", unit="reqps", is_stacked=True,
              queries=_each(rate("requests_total", "tier"), "{{tier}}")),
        Panel(title="Tokens", unit="cps", is_stacked=True,
              queries=_each(rate("tokens_total", "tier, kind"), "{{tier}}: {{kind}}")),
        Panel(title="Fullest month of a tier", unit="percentunit", note="The consumer is named by quota.threshold.",
              queries=_each(f"max by (tier) ({select('quota_used_ratio')})", "{{tier}}")),
    )),
    ("Refusals", (
        Panel(title="By rule", unit="cps", note=_EMPTY,
              queries=_each(rate("rejected_total", "rule", 'rule!=""'), "{{rule}}")),
        Panel(title="4xx by tier", unit="reqps", note=_EMPTY,
              queries=_each(rate("requests_total", "tier", 'status="4xx"'), "{{tier}}")),
        Panel(title="Requests of every 5 minutes by tier", is_stacked=True,
              queries=_each(f"sum by (tier) (increase({select('requests_total')}[5m]))", "{{tier}}")),
    )),
    ("What is sold", (
        Panel(title="Tokens by model", unit="cps", is_stacked=True,
              queries=_each(rate("tokens_total", "model"), "{{model}}")),
        Panel(title="Answers without a price", unit="cps", note=_EMPTY,
              queries=_each(rate("unpriced_total", "model"), "{{model}}")),
        Panel(title="Caches", unit="cps", note=_EMPTY,
              queries=_each(rate("cache_requests_total", "cache, result"), "{{cache}}: {{result}}")),
    )),
    ("Consumers", (
        Panel(title="One by one", kind="text", width=24, height=4, note=(
            "Consumers are no labels: there may be a million of them. Ask the gateway: "
            "`GET /api/v1/analytics/usage?group_by=consumer`, or `/api/v1/usage/2026-11` for a month's report.")),
    )),
))  # fmt: skip

ENGINES = Dashboard("tollkeeper-engines", "Tollkeeper: engines and models", (
    ("Engines", (
        Panel(title="States", kind="states", names=_STATES, width=16, note="Empty where no engine is ours.",
              queries=_each(select("engine_state"), "{{backend}}")),
        Panel(title="Starts after a death", unit="cps", note=_EMPTY,
              queries=_each(rate("engine_restarts_total", "backend, reason"), "{{backend}}: {{reason}}")),
        Panel(title="Memory", unit="bytes", is_stacked=True,
              queries=_each(total("engine_memory_bytes", "backend"), "{{backend}}")),
        Panel(title="Last load took", unit="s", queries=_each(select("engine_load_seconds"), "{{backend}}")),
        Panel(title="Requests at work", is_stacked=True, queries=_each(total("inflight", "backend"), "{{backend}}")),
    )),
    ("Queues", (
        Panel(title="Waiting", is_stacked=True,
              queries=_each(total("queue_depth", "backend, class"), "{{backend}}: {{class}}")),
        Panel(title="Of the queue is taken", unit="percentunit", queries=_each(
            f"{total('queue_depth', 'backend')} / ({total('queue_limit', 'backend')} > 0)", "{{backend}}")),
        Panel(title="Waited, p95", unit="s",
              queries=_each(quantile(0.95, "queue_seconds", "backend, class"), "{{backend}}: {{class}}")),
    )),
    ("Upstreams", (
        Panel(title="Endpoints", kind="states", names=("left alone", "used"), note="Of servers that are not ours.",
              queries=_each(select("endpoint_up"), "{{backend}} {{endpoint}}")),
        Panel(title="Answer, p95", unit="s",
              queries=_each(quantile(0.95, "upstream_seconds", "backend"), "{{backend}}")),
        Panel(title="Errors", unit="cps", note=_EMPTY,
              queries=_each(rate("upstream_errors_total", "backend, reason"), "{{backend}}: {{reason}}")),
    )),
    ("Models", (
        Panel(title="First token, p95", unit="s", note="Of streams.",
              queries=_each(quantile(0.95, "first_token_seconds", "model"), "{{model}}")),
        Panel(title="Tokens", unit="cps", is_stacked=True,
              queries=_each(rate("tokens_total", "model, kind"), "{{model}}: {{kind}}")),
        Panel(title="Asked for, answered by another", unit="cps", note=_EMPTY,
              queries=_each(rate("fallbacks_total", "model, to"), "{{model}} → {{to}}")),
    )),
))  # fmt: skip

LEDGER = Dashboard("tollkeeper-ledger", "Tollkeeper: ledger, Redis and store", (
    ("Ledger", (
        Panel(title="Authority", kind="states", names=("down", "up"),
              queries=_each(select("ledger_up"), "{{instance}}: {{authority}}")),
        Panel(title="An ask takes", unit="s", note="Of asks that a worker could not answer from a lease. With Redis.",
              queries=_quantiles("ledger_seconds")),
        Panel(title="Asks", unit="cps", note="With Redis.", queries=_each(rate("ledger_seconds_count"), "asks")),
        Panel(title="Decided without Redis", unit="cps", note=_EMPTY,
              queries=_each(rate("ledger_degraded_total", "policy"), "{{policy}}")),
        Panel(title="Units in leases", queries=_each(total("lease_tokens"), "held by workers")),
        Panel(title="Age of the issuer's keys", unit="s", note="When they were last asked for. Empty without jwt.",
              queries=_each(select("jwks_age_seconds"), "{{instance}}")),
    )),
    ("Store", (
        Panel(title="Store", kind="states", names=("down", "up"), queries=_each(select("store_up"), "{{instance}}")),
        Panel(title="Behind the requests by", unit="s", queries=_each(select("trace_lag_seconds"), "{{instance}}")),
        Panel(title="Records lost", unit="cps", queries=_each(rate("trace_dropped_total", "reason"), "{{reason}}")),
        Panel(title="Store and journals", unit="bytes", is_stacked=True, queries=(
            Query(total("store_bytes"), "store"), Query(total("journal_bytes"), "journals"),
        )),
        Panel(title="Store, of what it may take", unit="percentunit", note="Empty with PostgreSQL.", queries=_each(
            f"{select('store_bytes')} / ({select('store_limit_bytes')} > 0)", "{{instance}}")),
        Panel(title="Journals, of what they may take", unit="percentunit", queries=_each(
            f"{select('journal_bytes')} / ({select('journal_limit_bytes')} > 0)", "{{instance}}")),
        Panel(title="Traces removed", unit="cps",
              queries=_each(rate("traces_removed_total", "reason"), "{{reason}}")),
        Panel(title="Free on the disk", unit="percentunit",
              queries=_each(f"{select('disk_free_bytes')} / {select('disk_bytes')}", "{{instance}}")),
        Panel(title="Told to the collector", unit="cps", note="Empty without otel.",
              queries=_each(rate("otel_traces_total", "result"), "{{result}}")),
        Panel(title="Caches hold", unit="bytes", queries=_each(total("cache_bytes", "cache"), "{{cache}}")),
        Panel(title="Keys not fetched", unit="cps",
              queries=_each(rate("jwks_refresh_failures_total", "instance"), "{{instance}}")),
    )),
    ("Control's API", (
        Panel(title="Calls", unit="reqps", is_stacked=True, note=_EMPTY,
              queries=_each(rate("api_seconds_count", "door, endpoint"), "{{door}}: {{endpoint}}")),
        Panel(title="Answer, p95", unit="s", note=_EMPTY,
              queries=_each(quantile(0.95, "api_seconds", "door"), "{{door}}")),
    )),
))  # fmt: skip

DASHBOARDS = {"overview": OVERVIEW, "tiers": TIERS, "engines": ENGINES, "ledger": LEDGER}

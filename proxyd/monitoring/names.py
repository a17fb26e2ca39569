"""Every metric, in one table. docs/monitoring.md and the dashboard for Grafana are held to it by tests.

No label is a key, a person or an address, and each has few values: providers, dialects, outcomes and reasons are closed
lists of ours, models those of the price table and "other".
"""

from typing import Literal

from msgspec import Struct


class MetricName(Struct, frozen=True):
    """A metric as Prometheus knows it. What is counted in whole numbers is `per` to the unit that is shown."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    per: int = 1


MILLI, MICRO, NANO = 1_000, 1_000_000, 1_000_000_000
OTHER = "other"  # of a label: whatever is not in its list

REQUESTS = MetricName(
    "router_requests_total", "counter",
    "Requests that were sent to a provider and have ended", ("dialect", "provider", "outcome"),
)  # fmt: skip
DURATION = MetricName(
    "router_request_duration_seconds", "histogram",
    "From the head of a request until its cost was known", ("dialect", "provider"), MILLI,
)  # fmt: skip
FIRST_BYTE = MetricName(
    "router_time_to_first_byte_seconds", "histogram",
    "From the head of a request until the provider's answer began; for a stream, to the first token",
    ("dialect", "provider", "streamed"), MILLI,
)  # fmt: skip
TOKENS = MetricName(
    "router_tokens_total", "counter",
    "Tokens by class; cached, audio and reasoning ones are parts of input and output", ("provider", "model", "class"),
)  # fmt: skip
UNITS = MetricName(
    "router_billed_units_total", "counter",
    "What is billed and is no token: calls of tools, seconds, characters", ("provider", "model", "unit"),
)  # fmt: skip
COST = MetricName("router_cost_dollars_total", "counter", "What requests cost", ("provider", "model"), NANO)
FLAGGED = MetricName("router_flagged_requests_total", "counter", "Requests whose cost has this flag", ("flag",))
ADMITTED = MetricName(
    "router_admitted_requests_total",
    "counter",
    "Requests that were admitted and written down, and may be sent",
)
REFUSED = MetricName("router_refused_requests_total", "counter", "Requests that the router itself refused", ("reason",))
FAILED = MetricName(
    "router_provider_failures_total", "counter",
    "Requests to which a provider gave no answer that could be passed on, so that the router said so",
    ("provider", "reason"),
)  # fmt: skip
BATCH = MetricName("router_admission_batch_size", "histogram", "Requests that were judged in one transaction")
SKIPPED = MetricName(
    "router_rate_limits_skipped_total", "counter",
    "Requests that were let through without their rate limit, because the counters did not answer",
)  # fmt: skip
IN_FLIGHT = MetricName("router_requests_in_flight", "gauge", "Requests that have begun and not ended")
STREAMS = MetricName("router_streams_open", "gauge", "Those of them whose answer is streamed")
UPSTREAM = MetricName("router_upstream_connections", "gauge", "Connections to providers", ("state",))
DIALS = MetricName("router_upstream_dials_total", "counter", "Connections to providers that were begun")
WORKERS = MetricName(
    "router_workers", "gauge", "Workers that live, and those whom the present counters know", ("state",)
)
LOOP_DELAY = MetricName(
    "router_worker_loop_delay_seconds", "gauge", "How late a worker's event loop was, the last time", ("worker",), MICRO
)
CPU = MetricName("router_process_cpu_seconds_total", "counter", "CPU time, user and system", ("process",), MICRO)
MEMORY = MetricName("router_process_resident_memory_bytes", "gauge", "Resident memory", ("process",))
LAG = MetricName(
    "router_ledger_lag_seconds", "gauge", "How long ago the ledger had last all that the journals told", (), MICRO
)
PENDING = MetricName("router_journal_pending_requests", "gauge", "Ended requests in journals that the ledger lacks")
COUNTERS_UP = MetricName("router_counters_reachable", "gauge", "1 if the ledger writer reached the counters")
COUNTERS_LIVE = MetricName(
    "router_counters_live", "gauge", "1 if the counters are complete; 0 while they are made anew"
)
GENERATION = MetricName("router_counters_generation", "gauge", "Of the counters; it rises each time they are made anew")
LOG_DROPPED = MetricName(
    "router_request_log_dropped_total", "counter", "Lines of the request log that nobody took in time"
)

METRICS = (
    REQUESTS, DURATION, FIRST_BYTE, TOKENS, UNITS, COST, FLAGGED, ADMITTED, REFUSED, FAILED, BATCH, SKIPPED, IN_FLIGHT,
    STREAMS, UPSTREAM, DIALS, WORKERS, LOOP_DELAY, CPU, MEMORY, LAG, PENDING, COUNTERS_UP, COUNTERS_LIVE, GENERATION,
    LOG_DROPPED,
)  # fmt: skip

DURATION_STEPS = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000)  # ms
FIRST_BYTE_STEPS = (25, 50, 100, 250, 500, 1_000, 2_000, 4_000, 8_000, 15_000, 30_000, 60_000)  # ms

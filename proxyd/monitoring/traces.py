"""Traces by OpenTelemetry: a span for each attempt, made of its record after the fact, and sent by a thread.

Its parent is what the client named in `traceparent` (W3C Trace Context), so that a call of a model stands in the trace
of the request that needed it. Names of attributes are those of OpenTelemetry's conventions for generative AI, and ours
begin with "router.".
"""

import os
import threading
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from proxyd.accounting.ledger_rows import told_model
from proxyd.accounting.records import Attempt, EndRecord, Settlement
from proxyd.monitoring.part import Part
from shared import money

SERVICE = "enterprise-router"
CLOSE_SECONDS = 2.0
_SYSTEMS = {"gemini": "gcp.gemini"}  # as the conventions call a provider, where that is not our name


class Traces(Part):
    """Sends spans to a collector, `/v1/traces` below `endpoint`. Further settings are OpenTelemetry's own variables."""

    def __init__(self, endpoint: str) -> None:
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": SERVICE}
        self._provider = TracerProvider(resource=Resource.create(named), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")))
        self._tracer = self._provider.get_tracer(SERVICE)

    def on_ends(self, ends: Sequence[EndRecord]) -> None:
        for _, _, attempt, settlement in ends:
            if settlement is not None:
                self._add(attempt, settlement)

    def close(self) -> None:
        """Send what is left, for a bounded time: the collector may be gone."""
        flushing = threading.Thread(target=self._provider.force_flush, daemon=True)
        flushing.start()
        flushing.join(CLOSE_SECONDS)

    def _add(self, attempt: Attempt, settlement: Settlement) -> None:
        began = int(attempt.admitted_at * 1e9)
        span = self._tracer.start_span(
            f"{attempt.provider} {told_model(attempt.requested_model) or attempt.endpoint}",
            context=_parent(attempt.trace_parent),
            kind=SpanKind.CLIENT,
            attributes=_attributes(attempt, settlement),
            start_time=began,
        )
        if settlement.first_byte_ms is not None:
            span.add_event("first byte", timestamp=began + settlement.first_byte_ms * 1_000_000)
        if settlement.outcome != "ok" or (settlement.status or 0) >= 400:
            span.set_status(Status(StatusCode.ERROR, settlement.outcome))
        span.end(end_time=began + settlement.duration_ms * 1_000_000)


def _parent(trace_parent: str | None) -> Context:
    """The span that a client named. Without one the span begins a trace of its own."""
    if trace_parent is None:
        return Context()
    _, trace_id, span_id, flags = trace_parent.split("-")[:4]
    remote = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16)))
    return trace.set_span_in_context(NonRecordingSpan(remote), Context())


def _attributes(attempt: Attempt, settlement: Settlement) -> dict[str, Any]:
    found = {
        "gen_ai.provider.name": _SYSTEMS.get(attempt.provider, attempt.provider),
        "gen_ai.request.model": told_model(attempt.requested_model),
        "gen_ai.response.model": told_model(settlement.served_model),
        "gen_ai.usage.input_tokens": settlement.usage.get("input_tokens"),
        "gen_ai.usage.output_tokens": settlement.usage.get("output_tokens"),
        "http.response.status_code": settlement.status,
        "error.type": None if settlement.outcome == "ok" else settlement.outcome,
        "router.request_id": attempt.id,
        "router.key_id": attempt.key_id,
        "router.org_id": attempt.org_id,
        "router.endpoint": attempt.endpoint,
        "router.streamed": attempt.streamed,
        "router.outcome": settlement.outcome,
        "router.flags": settlement.flags or None,
        "router.cost_usd": money.to_usd(settlement.cost_nanos),
        "router.provider_request_id": settlement.provider_request_id,
    }
    return {name: value for name, value in found.items() if value is not None}

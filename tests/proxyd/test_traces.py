"""A span for each attempt reaches a collector, in the trace of whoever asked."""

from collections.abc import Iterator

import pytest
from collector_kit import Collector, attributes
from ledger_kit import NOON, attempt, settlement
from request_kit import Untouched

from proxyd.accounting.records import EndRecord
from proxyd.gateway.head import head_info
from proxyd.messages import HeadCache, Request
from proxyd.monitoring.traces import Traces
from shared.secret_text import MASK

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def test_it_works(collector: Collector) -> None:
    traces = Traces(collector.url)
    one = settlement(duration_ms=1_500, first_byte_ms=400, cost_nanos=700_000)
    traces.on_ends(
        [EndRecord(1, 1, attempt(1, trace_parent=PARENT, streamed=True), one), EndRecord(2, 2, attempt(2), None)]
    )
    traces.close()
    (span,) = collector.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert span.name == "openai gpt-4o"
    assert span.start_time_unix_nano == int(NOON * 1e9)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 1_500_000_000
    assert [event.time_unix_nano - span.start_time_unix_nano for event in span.events] == [400_000_000]
    told = attributes(span)
    assert told["gen_ai.usage.input_tokens"] == 3
    assert (told["router.request_id"], told["router.cost_usd"]) == ("req_00000001", "0.0007")
    assert "error.type" not in told
    assert collector.resources[0]["service.name"] == "enterprise-router"


def test_no_secret_that_was_sent_as_a_model(collector: Collector) -> None:
    traces = Traces(collector.url)
    secret = "gsk_" + "q1" * 26
    traces.on_ends([EndRecord(1, 1, attempt(1, requested_model=secret), settlement(served_model=secret))])
    traces.close()
    (span,) = collector.spans
    told = attributes(span)
    assert (span.name, told["gen_ai.request.model"], told["gen_ai.response.model"]) == (f"openai {MASK}", MASK, MASK)


def test_what_failed_is_an_error(collector: Collector) -> None:
    traces = Traces(collector.url)
    traces.on_ends([EndRecord(1, 1, attempt(1), settlement(status=None, outcome="unknown", first_byte_ms=None))])
    traces.close()
    (span,) = collector.spans
    assert (span.status.code, span.parent_span_id) == (2, b"")
    assert attributes(span)["error.type"] == "unknown"


def test_whoever_does_not_sample_is_not_sampled(collector: Collector) -> None:
    traces = Traces(collector.url)
    for number, flags in enumerate(("00", "01"), start=1):
        traces.on_ends([EndRecord(number, number, attempt(number, trace_parent=f"{PARENT[:-2]}{flags}"), settlement())])
    traces.close()
    assert [attributes(span)["router.request_id"] for span in collector.spans] == ["req_00000002"]


@pytest.mark.parametrize(
    ("told", "taken"),
    [
        (PARENT, PARENT), (f"01-{TRACE}-{SPAN}-01-more", f"01-{TRACE}-{SPAN}-01"), (PARENT.upper(), None),
        (f"00-{TRACE}-{SPAN}-01-more", None), (f"ff-{TRACE}-{SPAN}-01", None), (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None), (f"00-{TRACE[1:]}-{SPAN}-01", None), ("", None), ("nonsense", None),
    ],
)  # fmt: skip
def test_only_a_valid_parent_is_taken(told: str, taken: str | None) -> None:
    """W3C Trace Context, section 3.2: what is not valid is as if it were not there; later versions may have more."""
    headers = ((b"traceparent", told.encode()),)
    asked = Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), HeadCache())
    assert head_info(asked, (), traced=True).trace_parent == taken
    unheard = Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), HeadCache())
    assert head_info(unheard, ()).trace_parent is None


def test_two_parents_are_none() -> None:
    headers = ((b"traceparent", PARENT.encode()), (b"traceparent", PARENT.encode()))
    asked = Request("POST", "/v1/messages", "", headers, Untouched(), Untouched(), HeadCache())
    assert head_info(asked, (), traced=True).trace_parent is None

"""Every sample answer costs what hand-written arithmetic says: plain, and in a stream where its dialect has one."""

import json
from datetime import UTC, datetime
from decimal import ROUND_CEILING

import pytest
from dialect_kit import find_endpoint
from sample_answers import SAMPLES
from sample_kit import CHAT, MESSAGES, RESPONSES, Sample

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS
from shared.pricing import Cost, Usage, cost
from webapp.verification.arithmetic import expected_cost

AT = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


def meter(sample: Sample, *, streaming: bool) -> Meter:
    endpoint, path_model = find_endpoint(PROVIDERS[sample.provider], "POST", sample.path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(
        endpoint, json.dumps({**sample.request, **_stream(sample, streaming)}).encode(), path_model, ""
    )
    return dialect.meter(endpoint, parsed, streaming=streaming, content_encoding=None)


def _stream(sample: Sample, streaming: bool) -> dict[str, bool]:
    return {"stream": streaming} if sample.path in (CHAT, RESPONSES, MESSAGES) else {}


def priced(sample: Sample, watch: Meter) -> tuple[Usage, Cost]:
    usage = watch.usage()
    assert usage is not None
    endpoint, path_model = find_endpoint(PROVIDERS[sample.provider], "POST", sample.path)
    del endpoint
    return usage, cost(sample.provider, path_model or sample.request["model"], usage, at=AT)


def assert_as_by_hand(sample: Sample, watch: Meter) -> None:
    usage, got = priced(sample, watch)
    assert got.nanos == int((sample.cost * 10**9).to_integral_value(ROUND_CEILING))
    assert got.flags == sample.flags
    if got.price is not None:
        assert expected_cost(usage.total(), json.loads(json.dumps(got.price.json))) == got.nanos


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_it_works(sample: Sample) -> None:
    watch = meter(sample, streaming=False)
    watch.feed(json.dumps(sample.answer).encode())
    watch.end()
    assert_as_by_hand(sample, watch)


def events(sample: Sample) -> list[tuple[str, dict[str, object]]]:
    """The same answer as a stream: its text first, its figures at the end."""
    answer = sample.answer
    if sample.path == CHAT:
        delta = {"index": 0, "delta": {"content": "Some words of an answer."}, "finish_reason": "stop"}
        return [
            ("", {"model": answer["model"], "choices": [delta], "usage": None}),
            ("", {"model": answer["model"], "choices": [], "usage": answer["usage"]}),
        ]
    if sample.path == RESPONSES:
        text: dict[str, object] = {"type": "response.output_text.delta", "delta": "Some words."}
        return [
            ("response.output_text.delta", text),
            ("response.completed", {"type": "response.completed", "response": answer}),
        ]
    if sample.path == MESSAGES:
        start = {"model": answer["model"], "usage": {**answer["usage"], "output_tokens": 1, "iterations": None}}
        blocks = [{"type": "content_block_start", "content_block": block} for block in answer["content"]]
        delta = {"type": "message_delta", "usage": answer["usage"]}
        found = [{"type": "message_start", "message": start}, *blocks, delta, {"type": "message_stop"}]
        return [(str(event["type"]), event) for event in found]
    return [("", answer)]


STREAMED = [s for s in SAMPLES if s.path in (CHAT, RESPONSES, MESSAGES) and s.request.get("background") is None]


@pytest.mark.parametrize("sample", STREAMED, ids=lambda sample: sample.name)
def test_a_stream_costs_the_same(sample: Sample) -> None:
    watch = meter(sample, streaming=True)
    for name, event in events(sample):
        head = f"event: {name}\n" if name else ""
        watch.feed(f"{head}data: {json.dumps(event)}\n\n".encode())
    watch.end()
    assert_as_by_hand(sample, watch)

import json
from collections.abc import Mapping

import orjson
import pytest
from dialect_kit import find_endpoint, used

from proxyd.providers import DIALECTS, BadBody, Meter, Parsed
from proxyd.providers.input_estimate import MAX_TOOL_CALLS
from shared.catalog import PROVIDERS
from shared.pricing import Size

ANTHROPIC = DIALECTS["anthropic"]
MESSAGES = find_endpoint(PROVIDERS["anthropic"], "POST", "/v1/messages")[0]


def read(**fields: object) -> Parsed:
    body = {"model": "claude-opus-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **fields}
    return ANTHROPIC.read(MESSAGES, json.dumps(body).encode(), None, "")


def with_blocks(*blocks: object) -> Size:
    return read(messages=[{"role": "user", "content": list(blocks)}]).size


def test_it_works() -> None:
    parsed = read(stream=True, speed="fast", service_tier="auto")
    assert (parsed.model, parsed.stream, parsed.wants_usage) == ("claude-opus-5", True, True)
    size = parsed.size
    assert (size.output_limit, size.text_bytes, size.cache_writes) == (100, len(parsed.raw), False)
    assert (size.speed, size.service_tier, size.unpriced, size.context_inputs) == ("fast", "auto", None, False)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", 5),
        ("max_tokens", None),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("stream", "yes"),
        ("messages", {}),
        ("tools", [5]),
        ("speed", 1),
    ],
)
def test_wrong_types_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BadBody) as refused:
        read(**{field: value})
    assert refused.value.param == field


def test_images_are_no_text() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 5000}}
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "x"}, image]}
    size = with_blocks(image, result, {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}})
    assert (size.image_parts, size.context_inputs) == (3, False)
    assert size.text_bytes < 1000


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "url", "url": "https://x"}},
        {"type": "container_upload", "file_id": "f"},
        {"type": "hologram"},
        {},
        {"type": "document", "source": {"type": "content", "content": [{"type": "hologram"}]}},
        {"type": "tool_result", "content": [{"type": "document", "source": {"type": "file", "file_id": "f"}}]},
    ],
)
def test_blocks_nobody_can_measure_fill_the_context(block: dict[str, object]) -> None:
    assert with_blocks(block).context_inputs


def test_plain_blocks_are_text() -> None:
    size = with_blocks(
        {"type": "text", "text": "x"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}},
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "x"}]}},
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {}},
        {"type": "tool_result", "tool_use_id": "t", "content": "ok"},
    )
    assert (size.context_inputs, size.image_parts) == (False, 0)


@pytest.mark.parametrize(
    ("tool", "fees", "unseen", "unpriced"),
    [
        ({"name": "f", "input_schema": {}}, {}, False, None),
        ({"type": "custom", "name": "f"}, {}, False, None),
        ({"type": "bash_20250124", "name": "bash"}, {}, False, None),
        ({"type": "web_search_20260318", "max_uses": 3}, {"web_searches": 3}, True, None),
        ({"type": "web_search_20250305"}, {"web_searches": MAX_TOOL_CALLS}, True, None),
        ({"type": "web_fetch_20250910"}, {}, True, None),
        ({"type": "code_execution_20260521"}, {}, True, "the tool code_execution_20260521"),
        ({"type": "tool_search_tool_bm25_20251119"}, {}, False, None),
        ({"type": "computer_toolset_20260801"}, {}, False, None),
        ({"type": "computer_of_ours_20260801"}, {}, True, "the tool computer_of_ours_20260801"),
        ({"type": "advisor_1"}, {}, True, "the tool advisor_1"),
    ],
)
def test_tools_count(tool: dict[str, object], fees: dict[str, int], unseen: bool, unpriced: str | None) -> None:
    size = read(tools=[tool]).size
    assert (size.tool_fees, size.context_inputs, size.unpriced) == (fees, unseen, unpriced)
    assert size.overhead_tokens > read().size.overhead_tokens


@pytest.mark.parametrize("tool", [{"type": 5}, {"type": "web_search_20250305", "max_uses": "3"}])
def test_tools_of_wrong_types_are_refused(tool: dict[str, object]) -> None:
    with pytest.raises(BadBody):
        read(tools=[tool])


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"fallbacks": "default"}, "fallbacks"),
        ({"compaction": {"type": "summarize"}}, "compaction"),
        (
            {"context_management": {"edits": [{"type": "clear_thinking_20251015"}, {"type": "compact_20260112"}]}},
            "context_management.edits of type compact_20260112",
        ),
        ({"context_management": {"edits": [{"type": 5}]}}, "context_management.edits of type 5"),
        ({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "clear_x"}]}}, None),
        ({"context_management": {"edits": []}, "system": "compact the conversation"}, None),
        ({"inference_geo": "eu"}, "inference_geo"),
        ({"inference_geo": 5}, "inference_geo"),
        ({"inference_geo": "us"}, None),
        ({"inference_geo": "global"}, None),
    ],
)
def test_features_without_a_known_price_are_named(fields: dict[str, object], unpriced: str | None) -> None:
    assert read(**fields).size.unpriced == unpriced


@pytest.mark.parametrize("field", ["container", "mcp_servers", "thread"])
def test_server_side_state_fills_the_context(field: str) -> None:
    assert read(**{field: [{"type": "x"}]}).size.context_inputs


def test_a_body_goes_out_as_it_came_but_for_its_model() -> None:
    parsed = read()
    assert ANTHROPIC.rewrite(parsed, model=None, output_limit=50) is parsed.raw
    assert orjson.loads(ANTHROPIC.rewrite(parsed, model="claude-x", output_limit=None))["model"] == "claude-x"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (405, "invalid_request_error"),
        (413, "request_too_large"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (504, "api_error"),
    ],
)
def test_refusals_have_anthropics_envelope(status: int, kind: str) -> None:
    body = orjson.loads(ANTHROPIC.refusal(status, "code_1", "Text.", "req_1", {"limit_usd": "1.00", "type": "x"}))
    assert body == {
        "type": "error",
        "error": {"type": kind, "message": "Text.", "code": "code_1", "limit_usd": "1.00"},
        "request_id": "req_1",
    }


def test_errors_inside_a_stream_are_events() -> None:
    event = ANTHROPIC.error_event(502, "provider_unreachable", "Gone.", "req_1")
    assert event.startswith(b'event: error\ndata: {"type":"error"')
    assert event.endswith(b"\n\n")


def meter(*, streaming: bool = True) -> Meter:
    return ANTHROPIC.meter(MESSAGES, read(stream=streaming), streaming=streaming, content_encoding=None)


def events(*values: Mapping[str, object]) -> bytes:
    return b"".join(f"event: {v['type']}\ndata: {json.dumps(v)}\n\n".encode() for v in values)


START_USAGE = {
    "input_tokens": 25, "cache_read_input_tokens": 5, "cache_creation_input_tokens": 0, "output_tokens": 1,
    "service_tier": "standard", "inference_geo": "global",
}  # fmt: skip
START = {"type": "message_start", "message": {"model": "claude-opus-5", "usage": START_USAGE}}
TEXT = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}}
DELTA = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 15}}
STOP = {"type": "message_stop"}


def run(watch: Meter, data: bytes, size: int | None = None) -> Meter:
    shown = b"".join(watch.feed(data[at : at + (size or len(data))]) for at in range(0, len(data), size or len(data)))
    assert shown + watch.end() == data
    return watch


@pytest.mark.parametrize("size", [None, 1, 13])
def test_the_last_figure_wins_and_nothing_is_summed(size: int | None) -> None:
    search = {
        **DELTA,
        "usage": {"output_tokens": 40, "input_tokens": None, "server_tool_use": {"web_search_requests": 2}},
    }
    watch = run(meter(), events(START, {"type": "ping"}, TEXT, DELTA, search, STOP), size)
    usage = used(watch)
    assert usage.counts["input_tokens"] == 30
    assert usage.counts["output_tokens"] == 40
    assert (usage.counts["cache_read_tokens"], usage.counts["web_searches"]) == (5, 2)
    assert (usage.service_tier, usage.model, usage.unknown) == ("standard", "claude-opus-5", False)
    assert (watch.complete, watch.failed) == (True, False)


def test_before_the_end_the_output_is_estimated_and_the_input_known() -> None:
    watch = run(meter(), events(START, TEXT, TEXT, TEXT))
    assert watch.usage() is None
    usage = watch.delivered()
    assert (usage.estimated, usage.counts["input_tokens"], usage.counts["output_tokens"]) == (True, 30, 5)
    assert not watch.complete


def test_thoughts_and_tool_input_are_content_and_signatures_are_not() -> None:
    deltas = [
        {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "x" * 30}},
        {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": "y" * 30}},
        {"type": "content_block_delta", "delta": {"type": "signature_delta", "signature": "z" * 3000}},
    ]
    assert run(meter(), events(*deltas)).delivered().counts["output_tokens"] == 20


def test_an_error_inside_the_stream_is_seen() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    watch = run(meter(), events(START, TEXT, error))
    assert (watch.failed, watch.complete) == (True, False)
    assert watch.usage() is None  # what it wrote until then is estimated
    counts = watch.delivered().counts
    assert (watch.wrote, counts["input_tokens"], counts["output_tokens"]) == (True, 30, 2)
    silent = run(meter(), events(START, error))
    assert (silent.wrote, used(silent).counts["input_tokens"], used(silent).counts["output_tokens"]) == (False, 30, 1)
    assert run(meter(), events(error)).usage() is None


def test_a_plain_answer_is_metered() -> None:
    document = {"type": "message", "model": "claude-opus-5", "content": [], "usage": {**START_USAGE, "speed": "fast"}}
    watch = run(meter(streaming=False), json.dumps(document).encode())
    assert (used(watch).counts["input_tokens"], used(watch).speed, watch.complete) == (30, "fast", True)


@pytest.mark.parametrize("usage", [None, [], {"input_tokens": -5, "output_tokens": 1}, {"output_tokens": 1}])
def test_unreadable_usage_is_estimated(usage: object) -> None:
    document = {"model": "claude-opus-5", "content": [{"type": "text", "text": "Hello"}], "usage": usage}
    watch = run(meter(streaming=False), json.dumps(document).encode())
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] >= 2


@pytest.mark.parametrize(
    "junk",
    [
        b"5",
        b"[]",
        b"{",
        b'{"type":5}',
        b'{"type":"message_start"}',
        b'{"type":"message_delta","usage":5}',
        b'{"type":"content_block_delta","delta":5}',
    ],
)
def test_junk_in_a_stream_is_relayed(junk: bytes) -> None:
    watch = run(meter(), b"data: " + junk + b"\n\n" + events(TEXT))
    assert watch.delivered().counts["output_tokens"] >= 2

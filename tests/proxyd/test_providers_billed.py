"""What in a request changes the bill, and what only seems to; and figures of an answer that fall, or make no sense."""

import json
from typing import Any

import pytest
from dialect_kit import BODIES, PATHS, find_endpoint, size_of

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS
from shared.pricing import Size


def chat(**fields: object) -> Size:
    return size_of("chat", **fields)


def responses(**fields: object) -> Size:
    return size_of("responses", **fields)


def messages(**fields: object) -> Size:
    return size_of("messages", **fields)


def test_running_code_is_free_beside_the_newer_web_tools_and_priced_by_nobody_else() -> None:
    code, search = {"type": "code_execution_20260120"}, {"type": "web_search_20260209", "max_uses": 1}
    assert messages(tools=[code, search]).unpriced is None
    assert messages(tools=[code, {"type": "web_search_20250305"}]).unpriced == "the tool code_execution_20260120"


def test_what_only_clears_adds_nothing_to_a_request() -> None:
    edits = {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "clear_thinking_20251015", "keep": "all"}]}
    plain, cleared = messages(), messages(context_management=edits)
    assert (cleared.context_inputs, cleared.cache_writes, cleared.unpriced) == (False, False, None)
    assert cleared.overhead_tokens == plain.overhead_tokens


def test_sound_is_a_class_of_its_own() -> None:
    heard = {"type": "input_audio", "input_audio": {"data": "A" * 64, "format": "wav"}}
    assert chat(messages=[{"role": "user", "content": [heard]}]).classes == ("input_audio_tokens",)
    assert chat(modalities=["text", "audio"], audio={"voice": "a"}).classes == ("output_audio_tokens",)
    assert chat(modalities=["text"]).classes == ()
    assert chat(modalities=["image", "text", 5, None]).classes == ("output_image_tokens",)


def test_a_shell_at_the_client_is_plain() -> None:
    size = responses(tools=[{"type": "shell", "environment": {"type": "local"}}])
    assert (size.unpriced, size.context_inputs) == (None, False)


def test_a_search_for_tools_at_the_client_is_plain_and_at_the_provider_it_is_not() -> None:
    found = {"type": "tool_search_output", "execution": "client", "tools": [{"type": "function", "name": "f"}]}
    items = [{"type": "tool_search_call", "arguments": {}}, found, {"type": "program", "code": "x"}]
    assert not responses(tools=[{"type": "tool_search", "execution": "client"}], input=items).context_inputs
    assert responses(tools=[{"type": "tool_search"}]).context_inputs


@pytest.mark.parametrize("kind", ["additional_tools", "tool_search_output"])
def test_tools_that_come_with_the_input_cost_what_others_do(kind: str) -> None:
    size = responses(input=[{"type": kind, "tools": [{"type": "web_search"}]}], max_tool_calls=3)
    assert (size.tool_fees, size.context_inputs, size.countable) == ({"web_searches": 3}, True, False)
    assert responses(input=[{"type": kind, "tools": [{"type": "code_interpreter"}]}]).unpriced is not None


@pytest.mark.parametrize(("agents", "unpriced"), [(None, None), ({"enabled": False}, None), ({}, "multi_agent")])
def test_agents_beside_the_first_have_no_bound_unless_they_are_switched_off(
    agents: object, unpriced: str | None
) -> None:
    assert responses(multi_agent=agents).unpriced == unpriced


def test_a_stored_prompt_may_bring_any_tool() -> None:
    size = responses(prompt={"id": "pmpt_1"})
    assert (size.unpriced, size.unbounded, size.other_models, size.context_inputs) == ("prompt", "prompt", True, True)


@pytest.mark.parametrize("name", ["context_management", "prompt", "previous_response_id", "conversation"])
@pytest.mark.parametrize("nothing", [None, [], {}, ""])
def test_a_feature_that_is_left_empty_is_not_used(name: str, nothing: object) -> None:
    assert not responses(**{name: nothing}).context_inputs


def test_a_limit_with_a_point_is_a_limit() -> None:
    assert chat(max_tokens=64.0).output_limit == responses(max_output_tokens=64.0).output_limit == 64
    assert messages(max_tokens=64.0).output_limit == 64


def test_the_providers_counter_sees_what_stands_elsewhere_and_nothing_that_is_to_come() -> None:
    assert responses(previous_response_id="resp_1").countable
    assert not responses(tools=[{"type": "web_search"}]).countable
    assert not responses(prompt={"id": "pmpt_1"}).countable


def test_pictures_and_sound_that_gemini_is_asked_for_are_classes_of_their_own() -> None:
    asked = size_of("generate", generation_config={"responseModalities": ["TEXT", "Image", "AUDIO"]})
    assert asked.classes == ("output_audio_tokens", "output_image_tokens")
    for alone in ("AUDIO", 3, [3]):  # as the JSON mapping of protocol buffers and Google's own parser let it be written
        assert size_of("generate", generationConfig={"responseModalities": alone}).classes == ("output_audio_tokens",)
    assert size_of("generate", generationConfig={"responseModalities": [1, None, {}]}).classes == ()
    assert size_of("generate", serviceTier=2).service_tier == "2"  # by its number, which no page tells


def meter(kind: str, *, streaming: bool) -> Meter:
    slug, path = PATHS[kind]
    if kind == "generate" and streaming:
        path = path.replace("generateContent", "streamGenerateContent")
    endpoint, model = find_endpoint(PROVIDERS[slug], "POST", path)
    dialect = DIALECTS[endpoint.dialect]
    parsed = dialect.read(endpoint, json.dumps(BODIES[kind]).encode(), model, "")
    return dialect.meter(endpoint, parsed, streaming=streaming, content_encoding=None)


def streamed(kind: str, *events: dict[str, Any]) -> Meter:
    watch = meter(kind, streaming=True)
    for event in events:
        watch.feed(f"data: {json.dumps(event)}\n\n".encode())
    watch.end()
    return watch


def chunk(text: str, **usage: int) -> dict[str, Any]:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": "stop"}
    return {"model": "gpt-4o", "choices": [choice], "usage": usage or None}


def test_a_last_figure_of_nothing_overrides_no_earlier_one() -> None:
    told = chunk("Hello", prompt_tokens=10, completion_tokens=16, total_tokens=26)
    last = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 0, "total_tokens": 10}}
    usage = streamed("chat", told, last).usage()
    assert usage is not None
    assert (usage.counts["output_tokens"], usage.estimated) == (16, False)


def test_input_that_is_repeated_as_nothing_is_still_charged() -> None:
    start = {"type": "message_start", "message": {"model": "claude-opus-4-8", "usage": {"input_tokens": 250}}}
    delta = {"type": "message_delta", "usage": {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 9}}
    usage = streamed("messages", start, delta, {"type": "message_stop"}).usage()
    assert usage is not None
    assert (usage.counts["input_tokens"], usage.counts["output_tokens"]) == (250, 9)


def test_details_of_a_list_never_fall_either() -> None:
    def piece(count: int, sound: int) -> dict[str, Any]:
        details = [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": sound}]
        usage = {"promptTokenCount": count, "candidatesTokenCount": 5, "promptTokensDetails": details}
        candidate = {"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}
        return {"candidates": [candidate], "usageMetadata": usage}

    usage = streamed("generate", piece(100, 90), piece(0, 0)).usage()
    assert usage is not None
    assert (usage.counts["input_tokens"], usage.counts["input_audio_tokens"]) == (100, 90)


@pytest.mark.parametrize("streaming", [True, False])
def test_text_out_of_no_tokens_is_estimated_and_flagged(streaming: bool) -> None:
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    if streaming:
        watch = streamed("chat", chunk("Hello you"), {"choices": [], "usage": nothing})
    else:
        watch = meter("chat", streaming=False)
        message = {"message": {"role": "assistant", "content": "Hello you"}, "finish_reason": "stop"}
        watch.feed(json.dumps({"model": "gpt-4o", "choices": [message], "usage": nothing}).encode())
        watch.end()
    assert watch.usage() is None
    usage = watch.delivered()
    assert usage.estimated
    assert usage.counts["output_tokens"] >= 3
    assert usage.counts["input_tokens"] > 0


def test_no_text_out_of_no_tokens_is_nothing() -> None:
    watch = meter("chat", streaming=False)
    nothing = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    watch.feed(json.dumps({"model": "gpt-4o", "choices": [], "usage": nothing}).encode())
    watch.end()
    usage = watch.usage()
    assert usage is not None
    assert (usage.counts["input_tokens"], usage.counts["output_tokens"]) == (0, 0)


@pytest.mark.parametrize("figure", [-5, 10**12])
def test_figures_that_nobody_can_have_used_are_flagged(figure: int) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": figure, "total_tokens": 20}
    watch = streamed("chat", chunk("Hello"), {"choices": [], "usage": usage})
    assert watch.usage() is None
    assert watch.delivered().clamped
    details = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": figure}}
    told = streamed("chat", chunk("Hello"), {"choices": [], "usage": details}).usage()
    assert told is not None
    assert (told.clamped, told.unknown) == (True, True)


def test_calls_of_tools_are_not_forgotten_when_a_stream_breaks_off() -> None:
    watch = meter("responses", streaming=True)
    for name in ("response.web_search_call.completed", "response.web_search_call.completed"):
        watch.feed(f'event: {name}\ndata: {{"type":"{name}"}}\n\n'.encode())
    watch.end()
    assert watch.delivered().counts["web_searches"] == 2

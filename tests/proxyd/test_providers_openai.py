import json

import orjson
import pytest
from dialect_kit import find_endpoint
from msgspec.structs import replace

from proxyd.providers import DIALECTS, BadBody, Parsed
from proxyd.providers.input_estimate import MAX_TOOL_CALLS
from shared.catalog import PROVIDERS, Endpoint, Kind
from shared.pricing import Size

OPENAI = DIALECTS["openai"]


def endpoint(path: str, provider: str = "openai") -> Endpoint:
    return find_endpoint(PROVIDERS[provider], "POST", path)[0]


CHAT = endpoint("/v1/chat/completions")
RESPONSES = endpoint("/v1/responses")
EMBEDDINGS = endpoint("/v1/embeddings")


def chat(**fields: object) -> Parsed:
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return OPENAI.read(CHAT, json.dumps(body).encode(), None, "")


def responses(**fields: object) -> Parsed:
    return OPENAI.read(RESPONSES, json.dumps({"model": "gpt-5", "input": "Hi", **fields}).encode(), None, "")


def with_parts(*parts: object) -> Size:
    return chat(messages=[{"role": "user", "content": list(parts)}]).size


def test_it_works() -> None:
    parsed = chat(max_tokens=50, n=2, stream=True, service_tier="flex")
    assert (parsed.model, parsed.stream, parsed.wants_usage) == ("gpt-4o", True, False)
    size = parsed.size
    assert (size.text_bytes, size.output_limit, size.choices) == (len(parsed.raw), 50, 2)
    assert (size.service_tier, size.context_inputs, size.unpriced) == ("flex", False, None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", None),
        ("model", 5),
        ("max_tokens", "5"),
        ("max_tokens", True),
        ("max_tokens", -1),
        ("max_tokens", 1.5),
        ("max_tokens", 10**30),
        ("max_completion_tokens", [5]),
        ("n", 0),
        ("n", "2"),
        ("stream", "yes"),
        ("stream", 1),
        ("stream_options", []),
        ("messages", "hello"),
        ("messages", ["hello"]),
        ("tools", {}),
        ("service_tier", 5),
    ],
)
def test_wrong_types_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(BadBody) as refused:
        chat(**{field: value})
    assert refused.value.param == field
    assert field in refused.value.message


@pytest.mark.parametrize(("field", "value"), [("max_output_tokens", "5"), ("background", 1), ("max_tool_calls", -1)])
def test_wrong_types_of_a_response_are_refused(field: str, value: str | int) -> None:
    with pytest.raises(BadBody) as refused:
        responses(**{field: value})
    assert refused.value.param == field


def test_the_provider_field_and_the_query_route_nothing() -> None:
    body = b'{"model":"gpt-4o","provider":"anthropic","messages":[]}'
    assert OPENAI.read(CHAT, body, None, "model=gpt-5").model == "gpt-4o"


def test_the_larger_of_two_limits_counts() -> None:
    assert chat(max_tokens=5, max_completion_tokens=9).size.output_limit == 9
    assert chat(max_tokens=None, max_completion_tokens=9).size.output_limit == 9
    assert chat().size.output_limit is None


def test_media_are_no_text() -> None:
    url = "data:image/png;base64," + "A" * 3000
    size = with_parts({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": url}})
    assert (size.image_parts, size.context_inputs) == (1, False)
    assert size.text_bytes < 300
    size = with_parts({"type": "input_audio", "input_audio": {"data": "B" * 32_000, "format": "mp3"}})
    assert (size.audio_tokens, size.context_inputs) == (2_000, False)
    assert size.text_bytes < 300


@pytest.mark.parametrize(
    "part",
    [
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "image_url", "image_url": {"url": "data:application/pdf;base64,AAAA"}},
        {"type": "hologram", "hologram": "x"},
        {"type": "input_audio", "input_audio": {"id": "a"}},
        {"text": "no type"},
    ],
)
def test_parts_nobody_can_measure_fill_the_context(part: dict[str, object]) -> None:
    assert with_parts(part).context_inputs


def test_tools_and_searches_of_chat_count() -> None:
    assert chat(tools=[{"type": "function", "function": {"name": "f"}}]).size.unpriced is None
    assert chat(tools=[{"type": "web"}]).size.unpriced == "the tool web"
    size = chat(web_search_options={}).size
    assert (size.tool_fees, size.context_inputs) == ({"web_searches": 1}, True)
    assert chat(model="openai/gpt-4o-search-preview").size.tool_fees == {"web_search_previews": 1}
    assert chat(model="gpt-5-search-api-2025-10-14").size.tool_fees == {"web_searches": 1}
    assert chat(model="o3-deep-research").size.tool_fees == {}  # a name in which the word only happens to stand
    assert chat(prediction={"type": "content", "content": "x" * 1000}).size.extra_output_tokens > 1000


@pytest.mark.parametrize("limits", [{}, {"max_tokens": 5}, {"max_tokens": 5, "max_completion_tokens": 9}])
@pytest.mark.parametrize("field", ["n", "service_tier", "prediction", "image", "background", "web_search_options"])
def test_a_field_that_could_cost_something_and_does_not_changes_nothing(field: str, limits: dict[str, int]) -> None:
    plain, with_field = chat(**limits), chat(**limits, **{field: None})
    assert replace(with_field.size, text_bytes=len(plain.raw)) == plain.size


@pytest.mark.parametrize(
    ("fields", "fees", "unpriced"),
    [
        ({"tools": [{"type": "web_search"}]}, {"web_searches": MAX_TOOL_CALLS}, None),
        ({"tools": [{"type": "web_search_preview"}], "max_tool_calls": 3}, {"web_search_previews": 3}, None),
        ({"tools": [{"type": "web_search_2025_08_26"}], "max_tool_calls": 2}, {"web_searches": 2}, None),
        ({"tools": [{"type": "web_searching"}]}, {}, "the tool web_searching"),
        ({"tools": [{"type": "file_search"}], "max_tool_calls": 0}, {"storage_searches": 0}, None),
        ({"tools": [{"type": "mcp", "server_url": "x"}]}, {}, None),
        ({"tools": [{"type": "code_interpreter"}]}, {}, "the tool code_interpreter"),
        ({"tools": [{"type": "image_generation"}]}, {}, "the tool image_generation"),
        ({"tools": [{"type": "shell"}]}, {}, "the tool shell"),
        ({"tools": [{}]}, {}, "the tool None"),
        ({"previous_response_id": "resp_1"}, {}, None),
        ({"conversation": "conv_1"}, {}, None),
        ({"prompt": {"id": "pmpt_1"}}, {}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "i"}]}, {}, None),
        ({"input": [{"id": "i"}]}, {}, None),
        ({"input": [{"role": "user", "content": [{"type": "input_file", "file_id": "f"}]}]}, {}, None),
        ({"input": [{"type": "function_call_output", "output": [{"type": "input_file", "file_url": "f"}]}]}, {}, None),
    ],
)
def test_server_side_features_of_responses_count(
    fields: dict[str, object], fees: dict[str, int], unpriced: str | None
) -> None:
    size = responses(**fields).size
    assert (size.tool_fees, size.unpriced, size.context_inputs) == (fees, unpriced, True)


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"background": True}, "background"),
        ({"prompt_cache_options": {"ttl": "12h"}}, "prompt_cache_options.ttl"),
        ({"prompt_cache_options": {"ttl": "30m"}}, None),
        ({"image": {}}, "image"),
    ],
)
def test_features_without_a_known_price_are_named(fields: dict[str, object], unpriced: str | None) -> None:
    assert responses(**fields).size.unpriced == unpriced


def test_plain_items_of_responses_are_text() -> None:
    items = [
        {"role": "user", "content": "Hi"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "function_call", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "output": [{"type": "input_image", "image_url": "data:image/png;base64,AA"}]},
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"type": "computer_call_output", "output": {"type": "computer_screenshot", "image_url": "https://x/y.png"}},
    ]
    size = responses(input=items).size
    assert (size.context_inputs, size.image_parts) == (False, 2)


def test_deep_nesting_neither_crashes_nor_hides_anything() -> None:
    part = dict[str, object](type="input_file", file_id="f")
    for _ in range(400):
        part = {"type": "message", "content": [part]}
    assert responses(input=[part]).size.context_inputs


def test_embeddings_have_no_output() -> None:
    parsed = OPENAI.read(EMBEDDINGS, b'{"model":"text-embedding-3-small","input":["a","b"]}', None, "")
    assert (parsed.size.output_free, parsed.stream, parsed.kind) == (True, False, Kind.EMBEDDINGS)


def test_a_body_goes_out_as_it_came() -> None:
    parsed = chat(stream=True, stream_options={"include_usage": True}, temperature=1.50)
    assert OPENAI.rewrite(parsed, model=None, output_limit=None) is parsed.raw
    assert OPENAI.rewrite(parsed, model="gpt-4o", output_limit=None) is parsed.raw


def test_usage_is_asked_for_in_chat_streams() -> None:
    parsed = chat(stream=True)
    sent = OPENAI.rewrite(parsed, model=None, output_limit=None)
    assert sent == b'{"stream_options":{"include_usage":true},' + parsed.raw[1:]
    for given in (None, {}, {"include_usage": False}, {"include_obfuscation": False}):
        parsed = chat(stream=True, stream_options=given)
        options = orjson.loads(OPENAI.rewrite(parsed, model=None, output_limit=None))["stream_options"]
        assert options == {**(given or {}), "include_usage": True}
        assert not parsed.wants_usage
    assert OPENAI.rewrite(chat(), model=None, output_limit=None) == chat().raw
    assert b"stream_options" not in OPENAI.rewrite(responses(stream=True), model=None, output_limit=None)


def test_the_prefix_of_the_model_is_removed() -> None:
    parsed = chat(model="openai/gpt-4o")
    assert OPENAI.rewrite(parsed, model="gpt-4o", output_limit=None) == parsed.raw.replace(b"openai/gpt-4o", b"gpt-4o")


def test_a_limit_is_set_where_the_client_set_none() -> None:
    assert orjson.loads(OPENAI.rewrite(chat(), model=None, output_limit=77))["max_completion_tokens"] == 77
    nulled = chat(max_tokens=None, max_completion_tokens=None)
    sent = OPENAI.rewrite(nulled, model=None, output_limit=77)
    assert sent.count(b"max_completion_tokens") == 1
    assert orjson.loads(sent)["max_completion_tokens"] == 77
    assert orjson.loads(OPENAI.rewrite(responses(), model=None, output_limit=77))["max_output_tokens"] == 77
    own = chat(max_tokens=5)
    assert OPENAI.rewrite(own, model=None, output_limit=77) is own.raw


def test_all_changes_at_once() -> None:
    parsed = chat(model="openai/gpt-4o", stream=True)
    sent = orjson.loads(OPENAI.rewrite(parsed, model="gpt-4o", output_limit=9))
    assert sent == {
        **orjson.loads(parsed.raw),
        "model": "gpt-4o",
        "max_completion_tokens": 9,
        "stream_options": {"include_usage": True},
    }


def test_refusals_have_openais_envelope() -> None:
    body = OPENAI.refusal(403, "spend_exceeded", "Too dear.", "req_1", {"limit_usd": "20.00", "message": "no"})
    assert orjson.loads(body) == {
        "error": {
            "message": "Too dear.",
            "type": "permission_error",
            "code": "spend_exceeded",
            "param": None,
            "limit_usd": "20.00",
        }
    }
    types = {
        status: orjson.loads(OPENAI.refusal(status, "c", "m", "r", {}))["error"]["type"]
        for status in (400, 401, 429, 503)
    }
    assert types == {
        400: "invalid_request_error",
        401: "authentication_error",
        429: "rate_limit_error",
        503: "server_error",
    }
    named = orjson.loads(OPENAI.refusal(400, "invalid_request", "m", "r", {"param": "n"}))
    assert named["error"]["param"] == "n"


def test_errors_inside_a_stream_are_events() -> None:
    event = OPENAI.error_event(502, "provider_unreachable", "Gone.", "req_1")
    assert event.startswith(b'data: {"error":')
    assert event.endswith(b"\n\n")
    event = OPENAI.error_event(502, "provider_unreachable", "Gone.", "req_1", Kind.RESPONSES)
    assert event.startswith(b'event: error\ndata: {"type":"error"')

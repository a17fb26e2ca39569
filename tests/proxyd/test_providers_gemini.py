import json

import orjson
import pytest
from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS, BadBody, Parsed
from proxyd.providers.input_estimate import MAX_TOOL_CALLS
from shared.catalog import PROVIDERS, Endpoint, Kind
from shared.policy import Fact
from shared.pricing import Size

GEMINI = DIALECTS["gemini"]


def endpoint(method: str, model: str = "gemini-2.5-flash") -> tuple[Endpoint, str | None]:
    return find_endpoint(PROVIDERS["gemini"], "POST", f"/v1beta/models/{model}:{method}")


def read(method: str = "generateContent", model: str = "gemini-2.5-flash", /, **fields: object) -> Parsed:
    body = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], **fields}
    found, path_model = endpoint(method, model)
    return GEMINI.read(found, json.dumps(body).encode(), path_model, "alt=sse")


def with_parts(*parts: object) -> Size:
    return read(contents=[{"parts": list(parts)}]).size


def test_it_works() -> None:
    config = {"maxOutputTokens": 50, "candidateCount": 2}
    parsed = read("streamGenerateContent", generationConfig=config, serviceTier="SERVICE_TIER_FLEX")
    assert (parsed.model, parsed.stream, parsed.kind) == ("gemini-2.5-flash", True, Kind.GENERATE_STREAM)
    size = parsed.size
    assert (size.output_limit, size.choices, size.service_tier) == (50, 2, "flex")
    assert (size.text_bytes, size.unpriced, size.context_inputs) == (len(parsed.raw), None, False)
    assert not read().stream


def test_both_spellings_are_understood() -> None:
    size = read(generation_config={"max_output_tokens": 5, "candidate_count": 3}, service_tier="flex").size
    assert (size.output_limit, size.choices, size.service_tier) == (5, 3, "flex")


@pytest.mark.parametrize(
    "fields",
    [
        {"generationConfig": {}, "generation_config": {}},
        {"generationConfig": {"maxOutputTokens": 1, "max_output_tokens": 2}},
        {"generationConfig": {"candidateCount": 1, "candidate_count": 2}},
        {"cachedContent": "c", "cached_content": "c"},
        {"systemInstruction": {}, "system_instruction": {}},
    ],
)
def test_both_spellings_at_once_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(BadBody):
        read(**fields)


@pytest.mark.parametrize(
    ("config", "param"),
    [
        ({"maxOutputTokens": "five"}, "generationConfig.maxOutputTokens"),
        ({"maxOutputTokens": True}, "generationConfig.maxOutputTokens"),
        ({"max_output_tokens": -1}, "generationConfig.max_output_tokens"),
        ({"maxOutputTokens": 1.5}, "generationConfig.maxOutputTokens"),
        ({"candidateCount": 0}, "generationConfig.candidateCount"),
        ([], "generationConfig"),
    ],
)
def test_wrong_types_are_refused_by_name(config: object, param: str) -> None:
    with pytest.raises(BadBody) as refused:
        read(generationConfig=config)
    assert refused.value.param == param


def test_repeated_limits_are_refused() -> None:
    found, model = endpoint("generateContent")
    for body in (
        b'{"generationConfig":{"maxOutputTokens":1,"maxOutputTokens":9}}',
        b'{"generationConfig":{"maxOutputTokens":1},"generationConfig":{}}',
    ):
        with pytest.raises(BadBody):
            GEMINI.read(found, body, model, "")


def test_the_model_is_that_of_the_path() -> None:
    assert read(model="gemini-2.5-flash").model == "gemini-2.5-flash"
    found, path_model = endpoint("generateContent")
    assert GEMINI.read(found, b'{"model":"models/gemini-2.5-flash"}', path_model, "").model == "gemini-2.5-flash"
    with pytest.raises(BadBody) as refused:
        GEMINI.read(found, b'{"model":"gemini-2.5-pro"}', path_model, "")
    assert refused.value.param == "model"
    found, path_model = endpoint("batchEmbedContents", "gemini-embedding-001")
    with pytest.raises(BadBody):
        GEMINI.read(found, b'{"requests":[{"model":"models/other"}]}', path_model, "")


def test_media_are_no_text() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "A" * 5000}}
    sound = {"inline_data": {"mime_type": "audio/mp3", "data": "B" * 16_000}}
    results = [{"functionResponse": {"name": "f", "parts": parts}} for parts in ([image], image, None)]
    size = with_parts({"text": "x"}, image, sound, *results)
    assert (size.image_parts, size.audio_tokens, size.context_inputs) == (3, 1000, False)
    assert size.text_bytes < 700


@pytest.mark.parametrize(
    "part",
    [
        {"fileData": {"fileUri": "https://x"}},
        {"file_data": {"file_uri": "https://x"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "AA"}},
        {"inlineData": {"mimeType": "video/mp4", "data": "AA"}},
        {"inlineData": {"data": "AA"}},
        {"hologram": 1},
        {"functionResponse": {"parts": [{"fileData": {}}]}},
        {"functionResponse": {"parts": {"fileData": {}}}},
        {"function_response": {"parts": {"file_data": {}}}},
        {"functionResponse": {"parts": [[{"fileData": {}}]]}},
        {"functionResponse": [{"parts": {"fileData": {}}}]},
        {"inlineData": [{"mimeType": "video/mp4", "data": "AA"}]},
    ],
)
def test_parts_nobody_can_measure_fill_the_context(part: dict[str, object]) -> None:
    assert with_parts(part).context_inputs


def test_cached_content_fills_the_context() -> None:
    cached = read(cachedContent="cachedContents/x").size
    assert (cached.context_inputs, cached.tool_fees) == (True, {"web_searches": 1}), "it may hold a tool that searches"
    assert read(systemInstruction={"parts": [{"fileData": {}}]}).size.context_inputs


@pytest.mark.parametrize(
    ("tool", "model", "fees", "unseen", "unpriced"),
    [
        ({"functionDeclarations": []}, "gemini-2.5-flash", {}, False, None),
        ({"function_declarations": [], "googleSearch": None}, "gemini-2.5-flash", {}, False, None),
        ({"googleSearch": {}}, "gemini-2.5-flash", {"web_searches": 1}, True, None),
        ({"google_search": {}}, "gemini-3.5-flash", {"web_searches": MAX_TOOL_CALLS}, True, None),
        ({"urlContext": {}}, "gemini-2.5-flash", {}, True, None),
        ({"codeExecution": {}}, "gemini-2.5-flash", {}, True, None),
        ({"googleMaps": {}}, "gemini-2.5-flash", {}, True, "the tool googleMaps"),
    ],
)
def test_tools_count(
    tool: dict[str, object], model: str, fees: dict[str, int], unseen: bool, unpriced: str | None
) -> None:
    found, path_model = endpoint("generateContent", model)
    size = GEMINI.read(found, json.dumps({"contents": [], "tools": [tool]}).encode(), path_model, "").size
    assert (size.tool_fees, size.context_inputs, size.unpriced) == (fees, unseen, unpriced)


def test_embeddings_have_no_output() -> None:
    found, model = endpoint("batchEmbedContents", "gemini-embedding-001")
    body = {"requests": [{"model": f"models/{model}", "content": {"parts": [{"text": "a"}]}}]}
    parsed = GEMINI.read(found, json.dumps(body).encode(), model, "")
    assert (parsed.model, parsed.size.output_free, parsed.size.separate_windows) == (model, True, 0)
    sent = json.dumps(body).replace('{"text": "a"}', '{"fileData": {}}').encode()
    assert GEMINI.read(found, sent, model, "").size.separate_windows == 1


def test_each_of_many_embeddings_has_a_window_of_its_own() -> None:
    found, model = endpoint("batchEmbedContents", "gemini-embedding-2")
    film, text = {"fileData": {"fileUri": "files/1"}}, {"text": "a"}
    requests = [{"content": {"parts": [part]}} for part in (film, text, film, film)]
    size = GEMINI.read(found, json.dumps({"requests": requests}).encode(), model, "").size
    assert size.separate_windows == 3


def test_a_limit_is_set_where_the_client_set_none() -> None:
    own = read(generationConfig={"maxOutputTokens": 5})
    assert GEMINI.rewrite(own, model=None, output_limit=77) is own.raw
    parsed = read()
    assert GEMINI.rewrite(parsed, model=None, output_limit=None) is parsed.raw
    assert GEMINI.rewrite(parsed, model="other", output_limit=None) is parsed.raw
    assert GEMINI.rewrite(parsed, model=None, output_limit=77).endswith(parsed.raw[1:])
    for name, limit in (("generationConfig", "maxOutputTokens"), ("generation_config", "max_output_tokens")):
        for config in ({"temperature": 0.5}, {limit: None, "topK": 3}, {}):
            sent = orjson.loads(GEMINI.rewrite(read(**{name: config}), model=None, output_limit=77))
            key = limit if limit in config else "maxOutputTokens"
            assert sent[name] == {**config, key: 77}


def test_what_a_client_may_write_shorter_means_the_same() -> None:
    found, model = endpoint("generateContent")
    full = {
        "contents": [{"parts": [{"text": "Hi"}]}],
        "generationConfig": {"maxOutputTokens": 1024, "candidateCount": 2},
    }
    short = {
        "contents": {"parts": {"text": "Hi"}},
        "generationConfig": {"maxOutputTokens": "1024", "candidateCount": 2.0},
    }
    sizes = [GEMINI.read(found, json.dumps(body).encode(), model, "").size for body in (full, short)]
    assert [(size.output_limit, size.choices, size.context_inputs) for size in sizes] == [(1024, 2, False)] * 2
    picture = {
        "contents": {"parts": {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}},
        "tools": {"googleSearch": {}},
    }
    size = GEMINI.read(found, json.dumps(picture).encode(), model, "").size
    assert (size.image_parts, set(size.tool_fees)) == (1, {"web_searches"})


def test_a_wait_is_told_as_googles_own_clients_look_for_it() -> None:
    body = GEMINI.refusal(429, "rate_limited", "Wait.", "req_1", {"retry_after_seconds": 7})
    info, retry = json.loads(body)["error"]["details"]
    assert info["reason"] == "rate_limited"
    assert retry == {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s"}


def test_refusals_have_geminis_envelope() -> None:
    body = orjson.loads(GEMINI.refusal(403, "spend_exceeded", "Too dear.", "req_1", {"limit_usd": "1.00", "held": 5}))
    error = body["error"]
    assert (error["code"], error["status"], error["message"]) == (403, "PERMISSION_DENIED", "Too dear.")
    assert error["details"][0]["reason"] == "spend_exceeded"
    assert error["details"][0]["metadata"] == {"limit_usd": "1.00", "held": "5", "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "word"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (404, "NOT_FOUND"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (502, "UNAVAILABLE"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
    ],
)
def test_statuses_have_their_words(status: int, word: str) -> None:
    assert orjson.loads(GEMINI.refusal(status, "c", "m", "r", {}))["error"]["status"] == word
    assert GEMINI.error_event(status, "c", "m", "r").startswith(b'data: {"error":')


SHAPING = [
    "fields=candidates",
    "%24fields=x",
    "$.fields=x",
    "alt=proto",
    "callback=f",
    "prettyPrint=0&alt=media",
    "$httpHeaders=a",
]


@pytest.mark.parametrize("query", SHAPING)
@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent", "embedContent"])
def test_a_query_that_takes_the_usage_out_of_the_answer_cannot_be_bounded(method: str, query: str) -> None:
    found, path_model = endpoint(method)
    assert GEMINI.read(found, b"{}", path_model, query).size.unpriced is not None


@pytest.mark.parametrize("query", SHAPING)
@pytest.mark.parametrize(("kind", "body"), [("chat/completions", b'{"model":"m"}'), ("embeddings", b'{"model":"m"}')])
def test_nor_can_it_at_the_compatible_endpoints(kind: str, body: bytes, query: str) -> None:
    found, _ = find_endpoint(PROVIDERS["gemini"], "POST", f"/v1beta/openai/{kind}")
    assert DIALECTS["openai"].read(found, body, None, query).size.unpriced is not None


@pytest.mark.parametrize("query", ["", "alt=sse", "alt=json", "$alt=json;enum-encoding=int", "prettyPrint=false"])
def test_other_queries_do_no_harm(query: str) -> None:
    found, path_model = endpoint("generateContent")
    assert GEMINI.read(found, b"{}", path_model, query).size.unpriced is None


def test_an_output_limit_of_zero_limits_nothing() -> None:
    parsed = read(generationConfig={"maxOutputTokens": 0})
    assert parsed.size.output_limit is None
    assert json.loads(GEMINI.rewrite(parsed, model=None, output_limit=7))["generationConfig"] == {"maxOutputTokens": 7}


def test_facts_that_are_no_strings_are_told_as_json() -> None:
    facts: dict[str, Fact] = {
        "allowed_models": ["a", "b"],
        "bound": {"input": {"tokens": 5}},
        "paused": True,
        "none": None,
        "text": "x",
    }
    body = orjson.loads(GEMINI.refusal(403, "spend_exceeded", "Text.", "req_1", facts))
    told = body["error"]["details"][0]["metadata"]
    assert told == {
        "allowed_models": '["a","b"]',
        "bound": '{"input":{"tokens":5}}',
        "paused": "true",
        "none": "",
        "text": "x",
        "request_id": "req_1",
    }

"""Whatever a provider answers: metering it never fails, never loses a byte, and tells the same however it is cut."""

import json
import time

from hypothesis import given, settings
from hypothesis import strategies as st
from media_kit import understood

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS, Endpoint, Kind
from shared.pricing import Usage

WORDS = st.sampled_from(
    ["usage", "usageMetadata", "choices", "delta", "content", "text", "type", "message_delta", "message_start", "message", "response", "response.completed", "candidates", "parts", "finishReason", "STOP", "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "promptTokenCount", "candidatesTokenCount", "model", "error", "output", "iterations", "index", "seconds", "duration", "data", "svg_usage", "transcript.text.done", "image_edit.completed", "speech.audio.done", "interaction", "event_type", "interaction.completed", "step.delta", "steps", "status", "in_progress", "id", "predictions", "total_input_tokens", "total_output_tokens", "input_tokens_by_modality", "grounding_tool_count", "count", "name"]
)  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=12,
)
BODIES = {
    Kind.CHAT: b'{"model":"gpt-4o-mini","stream":true,"messages":[]}',
    Kind.RESPONSES: b'{"model":"gpt-4o-mini","stream":true,"input":"x"}',
    Kind.EMBEDDINGS: b'{"model":"text-embedding-3-small","input":"x"}',
    Kind.MESSAGES: b'{"model":"claude-haiku-4-5","max_tokens":5,"stream":true,"messages":[]}',
    Kind.GENERATE: b'{"contents":[]}',
    Kind.EMBED: b'{"content":{"parts":[]}}',
    Kind.COMPLETIONS: b'{"model":"gpt-3.5-turbo-instruct","stream":true,"prompt":"x"}',
    Kind.COMPACT: b'{"model":"gpt-5","input":"x"}',
    Kind.SPEECH: b'{"model":"gpt-4o-mini-tts","input":"x"}',
    Kind.IMAGES: b'{"model":"gpt-image-2","prompt":"x"}',
    Kind.TRANSCRIPTIONS: b"",  # a form
    Kind.PREDICT: b'{"instances":[{"prompt":"x"}]}',
    Kind.PREDICT_FILM: b'{"instances":[{"prompt":"x"}]}',
    Kind.INTERACT: b'{"model":"gemini-2.5-flash","stream":true,"background":true,"input":"x"}',
}
ENDPOINTS = [each for provider in PROVIDERS.values() for each in provider.endpoints if each.kind in BODIES]


def meter(endpoint: Endpoint, *, streaming: bool, coding: bytes | None = None) -> Meter:
    dialect = DIALECTS[endpoint.dialect]
    if endpoint.kind is Kind.TRANSCRIPTIONS:
        parsed = understood(endpoint.path, [("model", "gpt-4o-transcribe"), ("file", b"x")])
    else:
        parsed = dialect.read(endpoint, BODIES[endpoint.kind], "gemini-2.5-flash", "")
    return dialect.meter(endpoint, parsed, streaming=streaming, content_encoding=coding)


def told(meter: Meter, data: bytes, sizes: list[int]) -> tuple[bytes, Usage | None, Usage, bool, bool]:
    """What goes on to the client, and what is known in the end."""
    shown, at = b"", 0
    turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        shown += meter.feed(data[at : at + size])
        at, turn = at + size, turn + 1
    shown += meter.end()
    return shown, meter.usage(), meter.delivered(), meter.complete, meter.failed


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ENDPOINTS), st.lists(JSON, max_size=4), st.sampled_from([b"\n\n", b"\r\n\r\n", b"\r\r"]), st.lists(st.integers(1, 40), min_size=1, max_size=4))  # fmt: skip
def test_streams(endpoint: Endpoint, documents: list[object], end: bytes, sizes: list[int]) -> None:
    data = b"".join(b"data: " + json.dumps(document).encode() + end for document in documents) + b"data: [DONE]" + end
    whole = told(meter(endpoint, streaming=True), data, [len(data)])
    assert whole == told(meter(endpoint, streaming=True), data, sizes)
    if endpoint.kind not in (Kind.CHAT, Kind.COMPLETIONS):  # where usage that nobody asked for is hidden
        assert whole[0] == data


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(ENDPOINTS), JSON.map(json.dumps).map(str.encode) | st.binary(max_size=60), st.lists(st.integers(1, 40), min_size=1, max_size=4))  # fmt: skip
def test_whole_answers(endpoint: Endpoint, data: bytes, sizes: list[int]) -> None:
    whole = told(meter(endpoint, streaming=False), data, [len(data) or 1])
    assert whole == told(meter(endpoint, streaming=False), data, sizes)
    assert whole[0] == data


def test_an_answer_of_very_many_numbers_does_not_stop_the_worker() -> None:
    (endpoint,) = [each for each in PROVIDERS["openai"].endpoints if each.kind is Kind.EMBEDDINGS]
    vectors = b",".join([b'{"embedding":[' + b",".join([b"-0.0123456"] * 1_500) + b"]}"] * 1_900)
    usage = b'"model":"text-embedding-3-small","usage":{"prompt_tokens":77,"total_tokens":77}}'
    watch = meter(endpoint, streaming=False)
    for at in range(0, len(vectors), 65_536):
        watch.feed(vectors[at : at + 65_536])
    watch.feed(b"," + usage)
    began = time.process_time()
    watch.end()
    assert time.process_time() - began < 0.1  # parsing it takes 0.3 s and 100 MB
    found = watch.usage()
    assert found is not None
    assert found.counts["input_tokens"] == 77


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ENDPOINTS), st.binary(max_size=60), st.booleans(), st.sampled_from([b"gzip", b"br", b"deflate"]))
def test_what_cannot_be_decoded_is_passed_on(endpoint: Endpoint, data: bytes, streaming: bool, coding: bytes) -> None:
    assert told(meter(endpoint, streaming=streaming, coding=coding), data, [7])[0] == data

"""Interactions, pictures and films of Gemini's: what a request asks for, and what its answer used."""

from typing import Any

import orjson
import pytest

from proxyd.providers import DIALECTS, BadBody, Meter, Parsed
from shared.catalog import PROVIDERS, Endpoint, Kind, find_endpoint
from shared.pricing import Usage

MODEL, NEW = "gemini-2.5-flash", "gemini-3.5-flash"
USAGE = {"total_input_tokens": 10, "total_output_tokens": 4, "total_tokens": 14}


def endpoint(path: str) -> Endpoint:
    found = find_endpoint(PROVIDERS["gemini"], "POST", path)
    assert found is not None
    return found[0]


INTERACT, PREDICT = endpoint("/v1beta/interactions"), endpoint("/v1beta/models/imagen-4.0-generate-001:predict")
FILM = endpoint("/v1beta/models/veo-3.1-generate-preview:predictLongRunning")


def parsed(document: dict[str, Any], at: Endpoint = INTERACT, query: str = "") -> Parsed:
    model = None if at is INTERACT else "imagen-4.0-generate-001"
    return DIALECTS["gemini"].read(at, orjson.dumps(document), model, query)


def fed(request: Parsed, *pieces: bytes, at: Endpoint = INTERACT, streaming: bool = False) -> Meter:
    meter = DIALECTS["gemini"].meter(at, request, streaming=streaming, content_encoding=None)
    for piece in pieces:
        meter.feed(piece)
    meter.end()
    return meter


def usage_of(request: Parsed, answer: dict[str, Any], at: Endpoint = INTERACT) -> Usage | None:
    return fed(request, orjson.dumps(answer), at=at).usage()


def test_it_works() -> None:
    request = parsed({"model": MODEL, "input": "hi", "generation_config": {"max_output_tokens": 9}, "stream": True})
    assert (request.kind, request.model, request.stream) == (Kind.INTERACT, MODEL, True)
    size = request.size
    assert (size.output_limit, size.context_inputs, size.unpriced) == (9, False, None)
    found = usage_of(request, {"id": "int_1", "status": "completed", "model": MODEL, "usage": USAGE})
    assert found is not None
    assert (found.counts["input_tokens"], found.counts["output_tokens"], found.model) == (10, 4, MODEL)
    assert (found.unknown, found.unmetered) == (False, False)


@pytest.mark.parametrize(
    ("fields", "unpriced"),
    [
        ({"background": True}, "background"),
        ({"model": None, "agent": "deep-research"}, "agent"),
        ({"tools": [{"type": "google_maps"}]}, "the tool google_maps"),
        ({"tools": [{"type": "brand_new"}]}, "the tool brand_new"),
        ({"tools": [{"type": "function"}, {"type": "url_context"}]}, None),
    ],
)
def test_what_has_no_bound(fields: dict[str, Any], unpriced: str | None) -> None:
    assert parsed({"model": MODEL, "input": "hi", **fields}).size.unpriced == unpriced


@pytest.mark.parametrize(
    ("fields", "unseen"),
    [
        ({"previous_interaction_id": "int_0"}, True),
        ({"cached_content": "cachedContents/1"}, True),
        ({"input": [{"type": "document", "uri": "files/1"}]}, True),
        ({"input": [{"type": "user_input", "content": [{"type": "text", "text": "x"}]}]}, False),
        ({"input": [{"type": "user_input", "content": [{"type": "brand_new"}]}]}, True),
        ({"tools": [{"type": "google_search"}]}, True),
    ],
)
def test_input_that_stands_elsewhere(fields: dict[str, Any], unseen: bool) -> None:
    assert parsed({"model": MODEL, "input": "hi", **fields}).size.context_inputs is unseen


def test_cached_content_may_hold_a_tool_that_searches() -> None:
    held = {
        model: parsed({"model": model, "input": "x", "cached_content": "c"}).size.tool_fees for model in (MODEL, NEW)
    }
    assert held == {MODEL: {"web_searches": 1}, NEW: {"web_searches": 100}}


def test_media_and_fees() -> None:
    given = [{"type": "image", "data": "A" * 400, "mime_type": "image/png"}, {"type": "audio", "data": "A" * 1600}]
    size = parsed({"model": MODEL, "input": given, "response_modalities": ["image", "text"]}).size
    assert (size.image_parts, size.audio_tokens, size.classes) == (
        1,
        100,
        ("input_audio_tokens", "output_image_tokens"),
    )
    assert size.text_bytes < 400
    assert parsed({"model": MODEL, "input": "x", "tools": [{"type": "google_search"}]}).size.tool_fees == {
        "web_searches": 1
    }
    assert parsed({"model": "gemini-3.5-flash", "input": "x", "tools": [{"type": "google_search"}]}).size.tool_fees == {
        "web_searches": 100
    }


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"input": "x"},
        {"model": MODEL, "generation_config": 5},
        {"model": 7},
        {"model": MODEL, "tools": [{"type": []}]},
        {"model": MODEL, "input": [{"type": {}}]},
    ],
)
def test_bad_bodies(document: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        parsed(document)


def test_all_that_is_told_of_tokens_is_counted() -> None:
    usage = {
        **USAGE,
        "total_thought_tokens": 6,
        "total_cached_tokens": 3,
        "total_tool_use_tokens": 5,
        "total_tokens": 25,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 8}, {"modality": "audio", "tokens": 2}],
        "initial_input_tokens": 10,
        "grounding_tool_count": [{"type": "google_search", "count": 2}, {"type": "google_maps", "count": 1}],
    }
    answer = {"id": "int_1", "status": "completed", "model": "gemini-3.5-flash", "usage": usage}
    found = usage_of(parsed({"model": "gemini-3.5-flash", "input": "x"}), answer)
    assert found is not None
    assert found.counts["input_tokens"] == 15
    assert found.counts["output_tokens"] == 10
    assert (found.counts["cache_read_tokens"], found.counts["input_audio_tokens"]) == (3, 2)
    assert (found.counts["web_searches"], found.counts["map_searches"], found.unknown) == (2, 1, False)
    strange = usage_of(parsed({"model": MODEL, "input": "x"}), {**answer, "usage": {**USAGE, "total_dream_tokens": 7}})
    assert strange is not None
    assert strange.unknown


def sse(*events: dict[str, Any]) -> list[bytes]:
    return [b"event: x\ndata: " + orjson.dumps(event) + b"\n\n" for event in events]


def test_a_stream_is_metered_by_its_end_and_estimated_without_one() -> None:
    request = parsed({"model": MODEL, "input": "x" * 300, "stream": True})
    begun = {"event_type": "interaction.created", "interaction": {"id": "int_1", "status": "in_progress"}}
    delta = {"event_type": "step.delta", "index": 0, "delta": {"type": "text", "text": "y" * 30}}
    done = {
        "event_type": "interaction.completed",
        "interaction": {"id": "int_1", "status": "completed", "usage": USAGE},
    }
    meter = fed(request, *sse(begun, delta, done), streaming=True)
    assert meter.complete
    assert (found := meter.usage()) is not None
    assert found.counts["output_tokens"] == 4
    broken = fed(request, *sse(begun, delta), streaming=True)
    assert (broken.complete, broken.usage(), broken.deferred_job) == (False, None, None)
    assert broken.delivered().counts == {"input_tokens": -(-len(request.raw) // 3), "output_tokens": 10}
    failed = fed(request, *sse(begun, {"event_type": "error", "error": {}}), streaming=True)
    assert failed.failed


def test_what_runs_in_the_background_tells_its_name() -> None:
    request = parsed({"model": MODEL, "input": "x", "background": True})
    meter = fed(request, orjson.dumps({"id": "int_1", "status": "in_progress", "model": MODEL}))
    assert meter.deferred_job == "int_1"
    assert (found := meter.usage()) is not None
    assert found.unmetered
    assert fed(request, orjson.dumps({"id": "i", "status": "completed", "usage": USAGE})).deferred_job is None


@pytest.mark.parametrize(
    ("at", "document", "fees"),
    [
        (PREDICT, {"instances": [{"prompt": "x"}]}, {"generated_images": 4}),
        (PREDICT, {"instances": [{"prompt": "x"}] * 2, "parameters": {"sampleCount": 3}}, {"generated_images": 6}),
        (PREDICT, {"instances": [], "parameters": {"sample_count": "2"}}, {"generated_images": 2}),
        (FILM, {"instances": [{"prompt": "x"}]}, {"video_seconds_720p": 8}),
        (
            FILM,
            {"instances": [{}], "parameters": {"durationSeconds": 5, "sampleCount": 2, "resolution": "1080p"}},
            {"video_seconds_1080p": 10},
        ),
        (FILM, {"instances": [{}], "parameters": {"resolution": "8k"}}, {"video_seconds_4k": 8}),
    ],
)
def test_pictures_and_films_are_bounded_by_what_is_asked_for(
    at: Endpoint, document: dict[str, Any], fees: dict[str, int]
) -> None:
    size = parsed(document, at).size
    assert (size.tool_fees, size.output_free) == (fees, True)


def test_pictures_are_charged_as_they_came_and_films_as_they_were_asked_for() -> None:
    pictures = parsed({"instances": [{"prompt": "x"}]}, PREDICT)
    answer = {"predictions": [{"bytesBase64Encoded": "AAAA"}, {"raiFilteredReason": "no"}]}
    assert usage_of(pictures, answer, PREDICT) == Usage({"generated_images": 1})
    assert usage_of(pictures, {}, PREDICT) == Usage({"generated_images": 0})
    broken = fed(pictures, b'{"predictions": [', at=PREDICT)
    assert broken.usage() is None
    assert broken.delivered() == Usage({"generated_images": 4}, estimated=True)
    film = parsed({"instances": [{"prompt": "x"}]}, FILM)
    assert usage_of(film, {"name": "models/veo/operations/1"}, FILM) == Usage({"video_seconds_720p": 8})


@pytest.mark.parametrize(
    "parameters", [{"sampleCount": 0}, {"sampleCount": "x"}, {"sampleCount": 1, "sample_count": 9}]
)
def test_pictures_that_nobody_can_count(parameters: dict[str, Any]) -> None:
    with pytest.raises(BadBody):
        parsed({"instances": [{}], "parameters": parameters}, PREDICT)

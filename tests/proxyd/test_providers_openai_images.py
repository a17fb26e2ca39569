"""OpenAI's pictures: how much they can cost at most, and what their streams tell."""

import json
from decimal import Decimal
from typing import Any

import pytest
from dialect_kit import used
from media_kit import AT, bound_of, events, unbounded, understood, watching
from sample_answers_media import EDITS, GENERATIONS, VARIATIONS

from shared.pricing import cost


def painted(model: str = "gpt-image-2", **fields: Any) -> dict[str, Any]:
    return {"model": model, "prompt": "x", **fields}


@pytest.mark.parametrize(
    ("model", "quality", "size", "tokens"),
    [
        ("gpt-image-1", "low", "1024x1024", 272),
        ("gpt-image-1.5", "high", "1024x1536", 6_240),
        ("gpt-image-1-mini", "medium", "auto", 6_240),
        ("gpt-image-1", None, None, 6_240),
        ("gpt-image-2", "low", "1024x1024", 196),
        ("gpt-image-2", "medium", "1536x1024", 1_372),
        ("gpt-image-2", "high", "1024x1024", 7_024),
        ("gpt-image-2", "high", "3840x2160", 13_342),
        ("gpt-image-2-2026-04-21", "medium", "1024x1024", 1_756),
        ("gpt-image-2.5-flare", "medium", "1024x1024", 439),
        ("gpt-image-2.5-sunburst", "max", "1024x1024", 7_024),
        ("gpt-image-2.6-flare", "auto", "auto", 23_719),
        ("gpt-image-2", "auto", "1024x1024", 7_024),
        ("gpt-image-2", "low", "auto", 659),
        ("chatgpt-image-latest", None, None, 23_719),
    ],
)
def test_a_picture_has_as_many_tokens_as_the_providers_tables_say(
    model: str, quality: str | None, size: str | None, tokens: int
) -> None:
    found = bound_of(GENERATIONS, painted(model, quality=quality, size=size))
    assert found.output.units == tokens + 2_048
    assert found.affordable_output_limit is None


def test_several_pictures_partial_ones_and_frames_are_all_bounded() -> None:
    one = bound_of(GENERATIONS, painted(quality="low", size="1024x1024"))
    assert one.output.units == 196 + 2_048
    three = bound_of(GENERATIONS, painted(quality="low", size="1024x1024", n=3, partial_images=2))
    assert three.output.units == 3 * (196 + 2_048 + 200)
    assert three.input.units == 3 * (
        len(json.dumps(painted(quality="low", size="1024x1024", n=3, partial_images=2))) + 256
    )
    frames = bound_of(GENERATIONS, painted("gpt-image-2.6-flare", quality="low", size="1024x1024", output_format="gif"))
    assert frames.output.units == 9 * 196 + 2_048


def test_pictures_that_are_sent_are_bounded_however_they_are_sent() -> None:
    form: list[tuple[str, str | bytes]] = [("image[]", b"png"), ("image[]", b"png"), ("mask", b"png")]
    sent = bound_of(EDITS, [*form, ("prompt", "x"), ("model", "gpt-image-2")])
    assert sent.input.units == 3 * 25_000 + 256 + len("x" + "gpt-image-2")
    data = "data:image/png;base64," + "A" * 10_000
    named = bound_of(EDITS, painted(images=[{"image_url": data}, {"file_id": "file-1"}], mask={"file_id": "file-2"}))
    assert 3 * 25_000 + 256 < named.input.units < 3 * 25_000 + 256 + 500
    assert named.input.usd_per_unit == Decimal("0.000008")


def test_pictures_by_the_piece() -> None:
    found = bound_of(VARIATIONS, [("image", b"png"), ("model", "dall-e-2"), ("n", "3"), ("size", "256x256")])
    assert (found.nanos, found.fees["image_generations"].units) == (3 * 20_000_000, 3)


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"output_format": "svg"}, "the output format svg"),
        ({"svg": {"model": "gpt-5"}}, "the output format svg"),
        ({"complexity": "high"}, "complexity"),
    ],
)
def test_what_changes_the_bill_by_nobody_knows_how_much_has_no_bound(fields: dict[str, Any], what: str) -> None:
    assert unbounded(GENERATIONS, painted("gpt-image-2.6-flare", **fields)) == what
    form: list[tuple[str, str | bytes]] = [("image", b"png"), ("model", "gpt-image-2"), ("svg[model]", "gpt-5")]
    assert unbounded(EDITS, form) == "the output format svg"


def test_a_model_that_is_not_named_has_no_bound_and_no_price() -> None:
    assert unbounded(GENERATIONS, {"prompt": "x"}) is None
    watch = watching(GENERATIONS, understood(GENERATIONS, {"prompt": "x"}))
    watch.feed(b'{"created":1,"data":[{}],"usage":{"input_tokens":1,"output_tokens":2,"total_tokens":3}}')
    watch.end()
    assert cost("openai", None, used(watch), at=AT).flags == ("unpriced",)


def test_each_picture_of_a_stream_tells_its_own_usage() -> None:
    watch = watching(GENERATIONS, understood(GENERATIONS, painted(n=2, stream=True)), streaming=True)
    details = {"text_tokens": 10, "image_tokens": 0}
    usage = {"input_tokens": 10, "input_tokens_details": details, "output_tokens": 100, "total_tokens": 110}
    kind = "image_generation"
    watch.feed(
        events({"type": f"{kind}.partial_image", "b64_json": "A"}, {"type": f"{kind}.completed", "usage": usage})
    )
    assert not watch.complete
    watch.feed(events({"type": f"{kind}.completed", "usage": usage}))
    assert watch.complete
    assert used(watch).counts == {
        "input_tokens": 20, "input_text_tokens": 20, "input_image_tokens": 0, "output_tokens": 200,
        "output_image_tokens": 200,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("fed", "pictures"),
    [
        ([], 0),
        ([{"type": "image_generation.partial_image", "b64_json": "A"}], 1),
        ([{"type": "image_generation.completed"}], 2),
        ([{"type": "image_generation.completed"}] * 2, 3),
        ([{"type": "image_generation.completed", "usage": {"input_tokens": 1, "output_tokens": 196}}], 2),
    ],
)
def test_a_stream_of_pictures_that_breaks_off_costs_those_that_had_begun(
    fed: list[dict[str, Any]], pictures: int
) -> None:
    request = painted(quality="low", size="1024x1024", n=3, stream=True)
    watch = watching(GENERATIONS, understood(GENERATIONS, request), streaming=True)
    watch.feed(events(*fed))
    watch.end()
    assert watch.usage() is None
    assert watch.delivered().counts["output_tokens"] == pictures * (196 + 2_048)


def test_a_body_of_pictures_that_breaks_off_costs_all_that_were_asked_for_and_not_its_bytes() -> None:
    watch = watching(GENERATIONS, understood(GENERATIONS, painted(quality="low", size="1024x1024", n=3)))
    watch.feed(b'{"created":1,"data":[{"b64_json":"' + b"A" * 1_000_000)
    watch.end()
    assert not watch.complete
    assert watch.delivered().counts["output_tokens"] == 3 * (196 + 2_048)


def test_pictures_that_failed_cost_nothing() -> None:
    watch = watching(GENERATIONS, understood(GENERATIONS, painted(stream=True)), streaming=True)
    watch.feed(events({"type": "error", "error": {"message": "x"}}))
    assert watch.failed
    assert watch.usage() is None

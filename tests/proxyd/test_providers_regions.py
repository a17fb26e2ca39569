"""Where Anthropic serves a request: asked for, set for a workspace, and told in the usage."""

import json
from typing import Any

import pytest
from dialect_kit import find_endpoint, used

from proxyd.providers import DIALECTS
from shared.catalog import PROVIDERS
from shared.pricing import Usage

ENDPOINT, _ = find_endpoint(PROVIDERS["anthropic"], "POST", "/v1/messages")
DIALECT = DIALECTS[ENDPOINT.dialect]
TOLD = {"input_tokens": 25, "output_tokens": 1}


def answered(usage: dict[str, Any], **asked: object) -> Usage:
    body = {"model": "claude-opus-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **asked}
    parsed = DIALECT.read(ENDPOINT, json.dumps(body).encode(), None, "")
    watch = DIALECT.meter(ENDPOINT, parsed, streaming=False, content_encoding=None)
    watch.feed(json.dumps({"model": "claude-opus-5", "content": [], "usage": usage}).encode())
    watch.end()
    return used(watch)


@pytest.mark.parametrize(
    ("told", "region", "unknown"),
    [
        ("us", "us", False),
        ("eu", None, True),
        (["us"], None, True),
        ("global", None, False),
        ("not_available", None, False),
        (None, None, False),
    ],
)
def test_it_works(told: object, region: str | None, unknown: bool) -> None:
    usage = answered({**TOLD, "inference_geo": told})
    assert (usage.region, usage.unknown) == (region, unknown)


def test_what_was_asked_for_counts_where_the_answer_tells_nothing() -> None:
    assert answered(TOLD, inference_geo="us").region == "us"
    assert answered({**TOLD, "inference_geo": "global"}, inference_geo="us").region is None


def delivered(*events: dict[str, Any], **asked: object) -> Usage:
    """What is charged of a stream that breaks off behind these events."""
    body = {"model": "claude-opus-5", "max_tokens": 100, "stream": True, "messages": [], **asked}
    parsed = DIALECT.read(ENDPOINT, json.dumps(body).encode(), None, "")
    watch = DIALECT.meter(ENDPOINT, parsed, streaming=True, content_encoding=None)
    for event in events:
        watch.feed(b"data: " + json.dumps(event).encode() + b"\n\n")
    watch.end()
    return watch.usage() or watch.delivered()


def _start(**usage: object) -> dict[str, Any]:
    return {"type": "message_start", "message": {"model": "claude-opus-5", "usage": {**TOLD, **usage}}}


DELTA = {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 9}}


def test_an_answer_that_breaks_off_was_made_where_it_was_asked_for() -> None:
    assert delivered(inference_geo="us").region == "us"
    assert delivered(_start(), inference_geo="us").region == "us"
    assert delivered(inference_geo="global").region is None


def test_what_was_told_stands_where_later_events_tell_nothing() -> None:
    assert delivered(_start(inference_geo="global"), DELTA, inference_geo="us").region is None
    assert delivered(_start(inference_geo="us"), DELTA).region == "us"
    assert delivered(_start(inference_geo=None), DELTA, inference_geo="us").region == "us"


def test_parts_of_an_answer_are_served_in_the_same_place() -> None:
    parts = [{"type": "compaction", "input_tokens": 5, "output_tokens": 5}]
    assert [part.region for part in answered({**TOLD, "inference_geo": "us", "iterations": parts}).parts] == ["us"]

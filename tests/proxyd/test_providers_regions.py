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


def test_parts_of_an_answer_are_served_in_the_same_place() -> None:
    parts = [{"type": "compaction", "input_tokens": 5, "output_tokens": 5}]
    assert [part.region for part in answered({**TOLD, "inference_geo": "us", "iterations": parts}).parts] == ["us"]

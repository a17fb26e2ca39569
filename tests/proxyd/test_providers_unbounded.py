"""Features of a request whose tokens nobody can bound: none stays unseen behind one that costs money alone."""

from itertools import permutations, product
from typing import Any

import pytest
from dialect_kit import BODIES, size_of

from shared.pricing import bound_tokens

AT = 1_795_521_600.0  # 2026-11-24T12:00:00Z
SEEN: dict[str, dict[str, Any]] = {  # of each kind, what leaves its tokens bounded
    "responses": {
        "code_interpreter": {"tools": [{"type": "code_interpreter"}]},
        "shell": {"tools": [{"type": "shell", "environment": {"type": "container_auto"}}]},
        "ttl": {"prompt_cache_options": {"ttl": "24h"}},
    },
    "messages": {
        "code_execution": {"tools": [{"type": "code_execution_20250825", "name": "code"}]},
        "inference_geo": {"inference_geo": "eu"},
    },
    "generate": {"maps": {"tools": [{"googleMaps": {}}]}},
    "chat": {"ttl": {"prompt_cache_options": {"ttl": "24h"}}},
}
HIDDEN: dict[str, dict[str, Any]] = {
    "responses": {
        "background": {"background": True},
        "the tool image_generation": {"tools": [{"type": "image_generation"}]},
        "the tool xyz_tokens": {"tools": [{"type": "xyz_tokens"}]},
        "image": {"image": {}},
        "multi_agent": {"multi_agent": {"enabled": True, "max_concurrent_subagents": 50}},
    },
    "messages": {
        "fallbacks": {"fallbacks": [{"model": "claude-opus-5"}]},
        "compaction": {"compaction": {"type": "enabled"}},
        "the tool advisor_20260301": {"tools": [{"type": "advisor_20260301", "name": "advisor"}]},
        "the tool code_execution_v2": {"tools": [{"type": "code_execution_v2", "name": "code"}]},
        "context_management.edits of type compact_20260112": {
            "context_management": {"edits": [{"type": "clear_tool_uses_20250919"}, {"type": "compact_20260112"}]}
        },
    },
    "generate": {"the tool somethingNew": {"tools": [{"somethingNew": {}}]}},
    "chat": {
        "the tool code_interpreter": {"tools": [{"type": "code_interpreter"}]},
        "background": {"background": True},
    },
}


def together(*fields: dict[str, Any]) -> dict[str, Any]:
    """One body of several features; lists of tools one after the other."""
    body: dict[str, Any] = {}
    for each in fields:
        for name, value in each.items():
            body[name] = [*body.get(name, []), *value] if name == "tools" else value
    return body


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in SEEN for name in SEEN[kind]])
def test_what_costs_money_alone_is_bounded(kind: str, name: str) -> None:
    size = size_of(kind, **SEEN[kind][name])
    assert size.unpriced is not None
    assert size.unbounded is None
    assert bound_tokens("openai", "gpt-4o", size, at=AT) is not None


@pytest.mark.parametrize(
    ("kind", "seen", "hidden"),
    [(kind, *pair) for kind in BODIES for pair in product(SEEN[kind], HIDDEN[kind])],
)
def test_it_hides_nothing_that_stands_beside_it(kind: str, seen: str, hidden: str) -> None:
    """In either order."""
    assert size_of(kind, **HIDDEN[kind][hidden]).unbounded == hidden
    for pair in permutations((SEEN[kind][seen], HIDDEN[kind][hidden])):
        size = size_of(kind, **together(*pair))
        assert size.unbounded == hidden
        assert size.unpriced is not None
        assert bound_tokens("openai", "gpt-4o", size, at=AT) is None


def test_an_answer_that_cannot_be_read_is_not_bounded() -> None:
    assert size_of("generate", "fields=candidates", **SEEN["generate"]["maps"]).unbounded == "the parameter fields"

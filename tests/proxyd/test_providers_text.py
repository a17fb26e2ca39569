"""What a whole answer of OpenAI's dialect counts as when it tells no usage: its text, weighed only then."""

import json

import pytest
from dialect_kit import find_endpoint

from proxyd.providers import DIALECTS, Meter
from shared.catalog import PROVIDERS


def metered(path: str, answer: bytes) -> Meter:
    endpoint = find_endpoint(PROVIDERS["openai"], "POST", path)[0]
    dialect = DIALECTS["openai"]
    parsed = dialect.read(endpoint, b'{"model":"gpt-4o","messages":[],"input":"x"}', None, "")
    watch = dialect.meter(endpoint, parsed, streaming=False, content_encoding=None)
    watch.feed(answer)
    watch.end()
    return watch


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": "many"}])
@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/v1/chat/completions", {"choices": [{"message": {"role": "assistant", "content": "x" * 300}}, "junk"]}),
        ("/v1/responses", {"output": [{"content": [{"text": "x" * 200}], "arguments": "x" * 100}, "junk"]}),
    ],
)
def test_it_works_and_counts_once(path: str, answer: dict[str, object], usage: object) -> None:
    watch = metered(path, json.dumps({"id": "a", **answer, "usage": usage}).encode())
    assert watch.usage() is None
    for _ in range(2):
        assert 100 <= watch.delivered().counts["output_tokens"] <= 110


def test_an_answer_without_any_text_counts_whole() -> None:
    data = json.dumps({"id": "a", "choices": [{"message": None}], "note": "x" * 300}).encode()
    watch = metered("/v1/chat/completions", data)
    for _ in range(2):
        assert watch.delivered().counts["output_tokens"] == -(-len(data) // 3)

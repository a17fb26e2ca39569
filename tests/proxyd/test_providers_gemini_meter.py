import json
from typing import Any

import pytest
from dialect_kit import find_endpoint, used

from proxyd.providers import DIALECTS, Meter
from shared import catalog
from shared.catalog import Endpoint

GEMINI = DIALECTS["gemini"]


def find(method: str, model: str = "gemini-2.5-flash") -> tuple[Endpoint, str | None]:
    return find_endpoint(catalog.PROVIDERS["gemini"], "POST", f"/v1beta/models/{model}:{method}")


def chunk(
    text: str | None = None, finish: str | None = None, out: int | None = None, **fields: object
) -> dict[str, Any]:
    candidate: dict[str, object] = {"content": {"parts": [] if text is None else [{"text": text}]}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    usage = {"promptTokenCount": 8, "totalTokenCount": 8}
    if out is not None:
        usage = {
            "promptTokenCount": 8,
            "candidatesTokenCount": out,
            "thoughtsTokenCount": 4,
            "totalTokenCount": 12 + out,
        }
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "gemini-2.5-flash", **fields}


STREAM = [chunk("Hello "), chunk("you", out=2), chunk("!", "STOP", out=3)]


def sse(*chunks: object) -> bytes:
    return b"".join(b"data: " + json.dumps(c).encode() + b"\r\n\r\n" for c in chunks)


def meter(
    *, streaming: bool = True, method: str = "streamGenerateContent", model: str = "gemini-2.5-flash", **fields: object
) -> Meter:
    found, path_model = find(method, model)
    parsed = GEMINI.read(found, json.dumps({"contents": [], **fields}).encode(), path_model, "")
    return GEMINI.meter(found, parsed, streaming=streaming, content_encoding=None)


def run(watch: Meter, data: bytes, size: int | None = None) -> Meter:
    size = size or len(data)
    assert b"".join(watch.feed(data[at : at + size]) for at in range(0, len(data), size)) + watch.end() == data
    return watch


@pytest.mark.parametrize("size", [None, 1, 17])
def test_it_works(size: int | None) -> None:
    watch = run(meter(), sse(*STREAM), size)
    assert (used(watch).counts["input_tokens"], used(watch).counts["output_tokens"]) == (8, 7)
    assert (watch.complete, watch.served_model) == (True, "gemini-2.5-flash")


@pytest.mark.parametrize("size", [None, 1])
def test_a_stream_as_one_list_is_metered_at_its_end(size: int | None) -> None:
    watch = run(meter(streaming=False), json.dumps(STREAM, indent=1).encode(), size)
    assert (used(watch).counts["output_tokens"], watch.complete) == (7, True)
    broken = run(meter(streaming=False), json.dumps(STREAM).encode()[:-9])
    assert (broken.usage(), broken.complete) == (None, False)
    assert broken.delivered().counts["output_tokens"] > 7


def test_before_the_end_figures_are_not_final() -> None:
    watch = run(meter(), sse(*STREAM[:2]))
    assert (watch.usage(), watch.complete) == (None, False)
    usage = watch.delivered()
    assert (usage.estimated, usage.counts["input_tokens"], usage.counts["output_tokens"]) == (True, 8, 6)


def test_a_stream_is_complete_only_at_its_end() -> None:
    second = chunk("more", "STOP", out=9)
    second["candidates"][0]["index"] = 1
    watch = meter(generationConfig={"candidateCount": 2})
    watch.feed(sse(chunk("x", "STOP", out=1)))
    assert (watch.complete, watch.usage()) == (False, None)
    watch.feed(sse(second))
    assert (watch.complete, used(watch).counts["output_tokens"]) == (False, 13)
    watch.end()
    assert watch.complete


def test_a_blocked_prompt_is_an_end() -> None:
    watch = run(
        meter(),
        sse(
            {
                "promptFeedback": {"blockReason": "SAFETY"},
                "usageMetadata": {"promptTokenCount": 8, "totalTokenCount": 8},
            }
        ),
    )
    assert (used(watch).counts, watch.complete) == ({"input_tokens": 8}, True)


def test_an_error_inside_the_stream_is_seen() -> None:
    watch = run(meter(), sse(STREAM[0], {"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}))
    assert (watch.failed, watch.wrote, watch.usage()) == (True, True, None)
    assert watch.delivered().counts == {"input_tokens": 8, "output_tokens": 2}  # of six bytes


def test_searches_are_counted_as_they_are_billed() -> None:
    grounded = chunk("x", "STOP", out=1)
    grounded["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b", "c"]}
    assert used(run(meter(), sse(grounded))).counts["web_searches"] == 1
    newer = {**grounded, "modelVersion": "gemini-3.5-flash"}
    assert used(run(meter(model="gemini-3.5-flash"), sse(newer))).counts["web_searches"] == 3


def test_the_tier_asked_for_is_billed_unless_the_answer_tells_another() -> None:
    assert used(run(meter(serviceTier="priority"), sse(*STREAM))).service_tier == "priority"
    told = chunk("x", "STOP", out=1)
    told["usageMetadata"]["serviceTier"] = "standard"
    assert used(run(meter(serviceTier="priority"), sse(told))).service_tier == "standard"


def test_a_plain_answer_and_embeddings_are_metered() -> None:
    watch = run(meter(streaming=False, method="generateContent"), json.dumps(STREAM[-1]).encode())
    assert (used(watch).counts["output_tokens"], watch.complete) == (7, True)
    watch = run(
        meter(streaming=False, method="embedContent", model="gemini-embedding-001"), b'{"embedding":{"values":[0.1]}}'
    )
    assert watch.usage() is None
    assert watch.delivered().counts["input_tokens"] > 0
    answer = b'{"embedding":{"values":[]},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}'
    watch = run(meter(streaming=False, method="embedContent", model="gemini-embedding-001"), answer)
    assert used(watch).counts == {"input_tokens": 4}


@pytest.mark.parametrize(
    "junk",
    [
        b"5",
        b"[]",
        b"{",
        b'{"candidates":5}',
        b'{"candidates":[5]}',
        b'{"candidates":[{"content":5}]}',
        b'{"usageMetadata":5}',
    ],
)
def test_junk_in_a_stream_is_relayed(junk: bytes) -> None:
    watch = run(meter(), b"data: " + junk + b"\n\n" + sse(STREAM[0]))
    assert watch.delivered().counts["output_tokens"] >= 2

"""What providers tell of jobs, and what each result used."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxyd.providers import BadBody, later, later_answers
from proxyd.providers.later import Begun, Told
from proxyd.providers.later_answers import Work
from shared.catalog import PROVIDERS
from shared.endpoints import FREE, UNMETERED
from shared.later_endpoints import ROWS, Later, Role, later_role

CHAT = {"model": "gpt-4o", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}
MESSAGE = {"id": "msg_1", "model": "claude-sonnet-4-6", "content": [], "usage": {"input_tokens": 5, "output_tokens": 2}}
CONTENT = {"candidates": [], "usageMetadata": {"promptTokenCount": 4, "candidatesTokenCount": 1, "totalTokenCount": 5}}


@pytest.mark.parametrize("slug", PROVIDERS)
def test_the_rows_have_their_class(slug: str) -> None:
    for row, role in ROWS[slug].items():
        assert row in (UNMETERED if role is Role.BEGINS else FREE)[slug]


@pytest.mark.parametrize(
    ("slug", "method", "path", "expected"),
    [
        ("openai", "POST", "/v1/batches", Later(Role.BEGINS, "")),
        ("openai", "GET", "/v1/batches/batch_1", Later(Role.TELLS, "batch_1")),
        ("openai", "GET", "/v1/files/file-1/content", Later(Role.FILE, "file-1")),
        ("openai", "GET", "/v1/files/file-1", None),
        ("openai", "GET", "/v1/responses/resp_1", Later(Role.ANSWER, "resp_1")),
        ("openai", "GET", "/v1/responses/resp_1/input_items", None),
        ("anthropic", "GET", "/v1/messages/batches/msgbatch_1/results", Later(Role.RESULTS, "msgbatch_1")),
        ("gemini", "POST", "/v1beta/models/gemini-2.5-flash:batchGenerateContent", Later(Role.BEGINS, "")),
        ("gemini", "GET", "/v1alpha/batches/abc", Later(Role.TELLS, "batches/abc")),
        ("gemini", "GET", "/v1beta/files/batch-abc:download", Later(Role.FILE, "files/batch-abc")),
        ("gemini", "GET", "/v1beta/files/abc", Later(Role.LINKS, "")),
        ("gemini", "GET", "/v1beta/files", Later(Role.LINKS, "")),
        ("gemini", "GET", "/download/v1beta/files/batch-abc:download", Later(Role.FILE, "files/batch-abc")),
        ("gemini", "GET", "/v1beta/models/veo/operations/abc", None),
    ],
)
def test_roles(slug: str, method: str, path: str, expected: Later | None) -> None:
    assert later_role(slug, method, path) == expected


def test_what_begins_a_job() -> None:
    batch = {"id": "batch_1", "endpoint": "/v1/responses"}
    assert later.begun("openai", "/v1/batches", None, batch) == Begun("batch_1", "/v1/responses", None)
    for strange in ("/v1/" + "x" * 200, "/v1/nothing", 5, None):  # as if it were not told
        assert later.begun("openai", "/v1/batches", None, {**batch, "endpoint": strange}) == Begun(
            "batch_1", None, None
        )
    assert later.begun("anthropic", "/v1/messages/batches", None, {"id": "m"}) == Begun("m", "/v1/messages", None)
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    works_as = "/v1beta/models/{model}:generateContent"
    assert later.begun("gemini", path, "gemini-2.5-flash", {"name": "batches/a"}) == Begun(
        "batches/a", works_as, "gemini-2.5-flash"
    )
    for junk in ({}, {"id": None}, {"id": 5}, {"id": "a\0"}, {"id": "a" * 256}):
        assert later.begun("openai", "/v1/batches", None, junk) is None


def test_what_is_told_of_jobs() -> None:
    one = {"id": "batch_1", "output_file_id": "file-1"}
    assert later.told("openai", one) == [Told("batch_1", "file-1")]
    assert later.told("openai", {"data": [one, {"id": "batch_2", "output_file_id": None}, 7]}) == [
        Told("batch_1", "file-1"),
        Told("batch_2", None),
    ]
    link = "https://api.anthropic.com/v1/messages/batches/m/results"
    assert later.told("anthropic", {"id": "m", "results_url": link}) == [Told("m", None, link=link)]
    output = {"inlinedResponses": {"inlinedResponses": [{"response": CONTENT}, {"error": {}}, {"response": CONTENT}]}}
    operation = {"name": "batches/a", "metadata": {"output": output}, "response": output}
    assert later.told("gemini", {"operations": [operation]}) == [
        Told("batches/a", None, (("0", CONTENT), ("2", CONTENT)))
    ]
    assert later.told("gemini", {"name": "batches/a", "response": {"responsesFile": "files/x"}}) == [
        Told("batches/a", "files/x")
    ]


def test_no_more_jobs_are_told_of_than_any_page_has() -> None:
    page = {"data": [{"id": f"batch_{number}"} for number in range(later_answers.MAX_JOBS)]}
    assert len(later_answers.telling("openai", None, json.dumps(page).encode()).told) == later_answers.MAX_JOBS
    page["data"].append({"id": "batch"})
    with pytest.raises(BadBody):
        later_answers.telling("openai", None, json.dumps(page).encode())


def test_no_more_results_stand_in_one_answer_than_anybody_sends() -> None:
    held: dict[str, Any] = {"inlinedResponses": [{"response": {}}] * (later_answers.MAX_RESULTS + 1)}
    data = json.dumps({"name": "batches/a", "response": {"inlinedResponses": held}}).encode()
    assert later_answers.telling("gemini", None, data).with_results == ("batches/a",)
    with pytest.raises(BadBody):
        later_answers.results("gemini", {"batches/a": Work("gemini", None, None)}, data)


def test_the_results_of_several_jobs_are_found_in_one_look() -> None:
    def batch(name: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "response": {"inlinedResponses": {"inlinedResponses": [{"response": body}]}}}

    bodies: dict[str, dict[str, Any]] = {
        "batches/a": CONTENT,
        "batches/b": {"tokenCount": 6},
        "batches/of_another": CONTENT,
    }
    data = json.dumps({"operations": [batch(*each) for each in bodies.items()]}).encode()
    assert later_answers.telling("gemini", None, data).with_results == tuple(bodies)
    generate = Work("gemini", "/v1beta/models/{model}:generateContent", "gemini-2.5-flash")
    embed = Work("gemini", "/v1beta/models/{model}:embedContent", "gemini-embedding-001")
    found = later_answers.results("gemini", {"batches/a": generate, "batches/b": embed}, data)
    assert [(name, one.usage.counts) for name, one in found] == [
        ("batches/a", {"input_tokens": 4, "output_tokens": 1}),
        ("batches/b", {"input_tokens": 6}),
    ]


def test_lines_of_results() -> None:
    good: dict[str, Any] = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200, "body": CHAT}}
    assert later.result_in_line("openai", 0, good) == ("batch_req_1", CHAT)
    assert later.result_in_line("openai", 4, {**good, "id": None}) == ("4", CHAT)
    assert later.result_in_line("openai", 0, {**good, "response": {"status_code": 400, "body": CHAT}}) is None
    assert later.result_in_line("openai", 0, {}) is None
    succeeded = {"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}
    assert later.result_in_line("anthropic", 0, succeeded) == ("a msg_1", MESSAGE)
    assert later.result_in_line("anthropic", 0, {"custom_id": "a", "result": {"type": "expired"}}) is None
    assert later.result_in_line("gemini", 3, {"key": "a", "response": CONTENT}) == ("3", CONTENT)
    assert later.result_in_line("gemini", 3, {"key": "a", "error": {}}) is None


@pytest.mark.parametrize(
    ("slug", "works_as", "body", "counts"),
    [
        ("openai", "/v1/chat/completions", CHAT, {"input_tokens": 7, "output_tokens": 3}),
        ("openai", "/v1/embeddings", {"usage": {"prompt_tokens": 9, "total_tokens": 9}}, {"input_tokens": 9}),
        ("anthropic", "/v1/messages", MESSAGE, {"input_tokens": 5, "output_tokens": 2}),
        ("gemini", "/v1beta/models/{model}:generateContent", CONTENT, {"input_tokens": 4, "output_tokens": 1}),
        ("gemini", "/v1beta/models/{model}:embedContent", {"tokenCount": "6"}, {"input_tokens": 6}),
        ("gemini", "/v1beta/models/{model}:embedContent", {"tokenCount": 6}, {"input_tokens": 6}),
    ],
)
def test_what_a_result_used(slug: str, works_as: str, body: dict[str, Any], counts: dict[str, int]) -> None:
    found = later.result(slug, works_as, None, "a", body)
    assert found is not None
    assert (found.id, found.usage.counts, found.usage.estimated) == ("a", counts, False)
    batch = later.of_batch(found.usage)
    assert (batch.batch, batch.counts, found.usage.batch) == (True, counts, False)


def test_a_result_without_usage_is_estimated_and_one_that_nobody_can_read_is_flagged() -> None:
    found = later.result("openai", "/v1/chat/completions", None, "a", {"choices": [{"message": {"content": "x" * 30}}]})
    assert found is not None
    assert (found.usage.estimated, found.usage.counts["output_tokens"]) == (True, 10)
    for works_as in (None, "/v1/videos", "/v1/never"):
        found = later.result("openai", works_as, None, "a", {"id": "x"})
        assert found is not None
        assert found.usage.unmetered
    assert later.result("openai", "/v1/moderations", None, "a", {"id": "x"}) is None


@pytest.mark.parametrize(("model", "each"), [("gpt-image-1", 4_160), (None, 23_719), (" " * 9, 7_024)])
def test_pictures_of_which_no_tokens_are_told_are_estimated(model: str | None, each: int) -> None:
    body = {"data": [{"b64_json": "A"}, {"b64_json": "B"}], "quality": "high", "size": "1024x1024" if model else None}
    found = later.result("openai", "/v1/images/generations", model, "a", body)
    assert found is not None
    assert found.usage.estimated
    assert found.usage.counts["output_image_tokens"] == 2 * (each + 2_048)


def test_a_background_response_is_booked_once_it_has_ended() -> None:
    usage = {"input_tokens": 5, "output_tokens": 2, "total_tokens": 7}
    done = {"id": "resp_1", "status": "completed", "model": "gpt-4o", "usage": usage}
    found = later.answer("openai", "/v1/responses", None, done)
    assert found is not None
    assert found.usage.counts["output_tokens"] == 2
    assert (
        later.answer("openai", "/v1/responses", None, {**done, "status": "failed", "error": {"code": "x"}}) is not None
    )
    for open_ in ({**done, "status": "in_progress"}, {**done, "usage": None}, {}):
        assert later.answer("openai", "/v1/responses", None, open_) is None


NAMES = st.sampled_from(
    [
        "id", "name", "endpoint", "data", "operations", "output_file_id", "results_url", "metadata", "output", "response",
        "responsesFile", "inlinedResponses", "inlinedEmbedContentResponses", "body", "status_code", "custom_id", "result",
        "message", "status", "usage", "model", "tokenCount", "error", "key", "usageMetadata", "tools",
    ]
)  # fmt: skip
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["completed", "x", "200", "", "9" * 30]) | st.just(200),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PROVIDERS)), st.dictionaries(NAMES, ANYTHING, max_size=6))
def test_whatever_a_provider_tells_is_read_without_a_fault(slug: str, made: dict[str, Any]) -> None:
    document = orjson.loads(json.dumps(made))  # as it comes
    path = "/v1beta/models/gemini-2.5-flash:batchGenerateContent"
    later.begun(slug, path, "gemini-2.5-flash", document)
    for one in later.told(slug, document):
        assert one.name
    line = later.result_in_line(slug, 0, document)
    for works_as in (None, *(endpoint.path for endpoint in PROVIDERS[slug].endpoints if endpoint.flavor)):
        for body in (document, {} if line is None else line[1]):
            found = later.result(slug, works_as, "m", "a", body)
            assert found is None or all(count >= 0 for count in found.usage.counts.values())
            later.answer(slug, works_as, "m", body)

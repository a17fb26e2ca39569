"""What is billed later, by the official SDKs: jobs of one key, fetched by another, booked once and to the nano-dollar."""

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from anthropic.types.messages.batch_create_params import Request as BatchedMessage
from calls import marker
from google import genai
from google.genai import types as genai_types
from harness import Json, Router, eventually
from raw_http import ledger_rows

GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-sonnet-4-6", "gemini-2.5-flash"
BOOKED = "booked_later"


@pytest.fixture
def owner(router: Router) -> tuple[str, str]:
    """Whoever begins jobs: the key's id and the key."""
    return router.create_key(name="owner")


@pytest.fixture
def other(router: Router) -> str:
    """A key that only fetches, and has a limit at that."""
    return router.create_key(name="other", spend_limit_usd="0.01")[1]


@contextmanager
def of_openai(router: Router, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{router.proxy_url}/v1", api_key=key, max_retries=0) as client:
        yield client


@contextmanager
def of_google(router: Router, key: str) -> Iterator[genai.Client]:
    with closing(genai.Client(api_key=key, http_options={"base_url": router.proxy_url})) as client:
        yield client


def booked(router: Router, key_id: str) -> list[Json]:
    return [row for row in ledger_rows(router, key_id) if BOOKED in row["flags"]]


def check(router: Router, key_id: str, text: str, count: int) -> None:
    """The ledger has so many results, and costs what the provider's invoice says of them; all sums agree."""
    lines = [one for one in router.invoice()["attempts"] if text in one["marker"] and one["status"] == 200]
    assert len(lines) == count
    eventually(lambda: len(booked(router, key_id)) >= count, what="the booking")
    rows = booked(router, key_id)
    assert sorted(row["cost_nanos"] for row in rows) == sorted(line["cost_nanos"] for line in lines)
    assert all(row["cost_nanos"] > 0 and row["price"] for row in rows)
    assert sum(row["input_tokens"] for row in rows) == sum(line["usage"]["input_tokens"] for line in lines)
    (began,) = {row["endpoint"] for row in rows}

    def creations() -> list[Json]:
        return [row for row in ledger_rows(router, key_id) if row["endpoint"] == began and row not in rows]

    eventually(lambda: bool(creations()), what="the row of the creation")
    (creation,) = creations()
    assert (creation["cost_nanos"], creation["flags"]) == (0, ["unmetered"])
    assert {row["day"] for row in rows} == {creation["day"]}


def at_once(call: Any, times: int = 6) -> None:
    with ThreadPoolExecutor(times) as pool:
        for running in [pool.submit(call) for _ in range(times)]:
            running.result()


def test_a_background_response_is_booked_when_anybody_fetches_it(
    router: Router, owner: tuple[str, str], other: str
) -> None:
    key_id, key = owner
    text = marker()
    with of_openai(router, key) as client:
        begun = client.responses.create(model=GPT, input=text, background=True)
        assert (begun.status, begun.usage) == ("queued", None)
    assert booked(router, key_id) == []

    def fetch() -> None:
        with of_openai(router, other) as client:
            found = client.responses.retrieve(begun.id)
            assert found.status == "completed"
            assert text in found.output_text

    at_once(fetch)
    with of_openai(router, other) as client:
        events = list(client.responses.retrieve(begun.id, stream=True))
        assert events[-1].type == "response.completed"
        client.responses.cancel(begun.id)
    router.kill_worker()
    fetch()
    check(router, key_id, text, 1)


def test_a_background_response_is_booked_by_the_stream_that_tells_of_it(
    router: Router, owner: tuple[str, str], other: str
) -> None:
    key_id, key = owner
    text = marker()
    with of_openai(router, key) as client:
        begun = client.responses.create(model=GPT, input=text, background=True)
    with of_openai(router, other) as client:
        assert list(client.responses.retrieve(begun.id, stream=True))[-1].type == "response.completed"
    check(router, key_id, text, 1)


def test_a_background_stream_is_charged_once_though_its_reader_leaves(
    router: Router, owner: tuple[str, str], other: str
) -> None:
    """It goes on at the provider, so it is read on to its end; a later fetch finds nothing left to book."""
    key_id, key = owner
    text = marker()
    with of_openai(router, key) as client:
        stream = client.responses.create(
            model=GPT, input=f"sandbox:events=40,rate=200 {text}", background=True, stream=True
        )
        name = next(event.response.id for event in stream if event.type == "response.created")
        stream.close()
    (line,) = router.attempts(text)
    eventually(lambda: ledger_rows(router, key_id) != [], what="the row")
    with of_openai(router, other) as client:
        assert client.responses.retrieve(name).status == "completed"
    (row,) = ledger_rows(router, key_id)
    assert (row["cost_nanos"], row["flags"]) == (line["cost_nanos"], [])


def jsonl(lines: list[Json]) -> io.BytesIO:
    file = io.BytesIO(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    file.name = "batch.jsonl"
    return file


@pytest.mark.parametrize(
    ("endpoint", "count"), [("/v1/chat/completions", 300), ("/v1/responses", 20), ("/v1/embeddings", 20)]
)
def test_an_openai_batch_is_booked_line_by_line_when_its_file_is_fetched(
    router: Router, owner: tuple[str, str], other: str, endpoint: str, count: int
) -> None:
    key_id, key = owner
    text = marker()
    bodies: list[Json] = [
        {"model": GPT, "messages": [{"role": "user", "content": f"{text} {n}"}], "input": f"{text} {n}"}
        for n in range(count)
    ]
    if endpoint == "/v1/embeddings":
        bodies = [{**body, "model": "text-embedding-3-small", "dimensions": 8} for body in bodies]
    bodies[7]["model"] = "no-such-model"  # fails, and is not billed
    asked = [{"custom_id": f"r{n}", "method": "POST", "url": endpoint, "body": body} for n, body in enumerate(bodies)]
    with of_openai(router, key) as client:
        file = client.files.create(file=jsonl(asked), purpose="batch")
        begun = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")  # type: ignore[arg-type]
    with of_openai(router, other) as client:
        batch = client.batches.retrieve(begun.id)
        assert batch.output_file_id is not None
        assert batch.error_file_id is not None
        assert client.files.content(batch.error_file_id).text.count("\n") == 1

    def fetch() -> None:
        with of_openai(router, other) as client:
            assert client.files.content(batch.output_file_id or "").text.count("\n") == count - 1

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(fetch) for _ in range(4)]
        if count > 100:
            router.kill_worker()  # with some of them on the way
        for done in running:
            if (broken := done.exception()) is not None:
                assert count > 100
                assert isinstance(broken, openai.APIError | httpx2.HTTPError)
    fetch()
    check(router, key_id, text, count - 1)
    if count > 100:
        router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--key", key_id)
    (tier,) = {json.loads(row["price"]).get("processing") for row in booked(router, key_id)}
    assert tier == "batch"


@pytest.mark.parametrize("base", ["", "/anthropic"])
def test_an_anthropic_batch_is_booked_when_its_results_are_fetched(
    router: Router, owner: tuple[str, str], other: str, base: str
) -> None:
    """The SDK follows the provider's link to the results, with the key: that has to lead through the router."""
    key_id, key = owner
    text = marker()
    wanted = [
        BatchedMessage(
            custom_id=f"r{n}",
            params={
                "model": CLAUDE if n else "no-such-model",
                "max_tokens": 50,
                "messages": [{"role": "user", "content": f"{text} {n}"}],
            },
        )
        for n in range(20)
    ]
    with anthropic.Anthropic(base_url=router.proxy_url + base, api_key=key, max_retries=0) as client:
        begun = client.messages.batches.create(requests=wanted)
        assert begun.processing_status == "in_progress"
    for _ in range(2):
        with anthropic.Anthropic(base_url=router.proxy_url + base, api_key=other, max_retries=0) as client:
            batch = client.messages.batches.retrieve(begun.id)
            assert batch.results_url == f"{router.proxy_url}{base}/v1/messages/batches/{begun.id}/results"
            results = list(client.messages.batches.results(begun.id))
            assert [one.result.type for one in results].count("succeeded") == 19
            assert begun.id in [one.id for one in client.messages.batches.list()]
    check(router, key_id, text, 19)


def test_a_gemini_batch_is_booked_when_its_answers_are_told(router: Router, owner: tuple[str, str], other: str) -> None:
    key_id, key = owner
    text = marker()
    with of_google(router, key) as client:
        begun = client.batches.create(
            model=GEMINI,
            src=[
                genai_types.InlinedRequest(contents=[{"role": "user", "parts": [{"text": f"{text} {n}"}]}])
                for n in range(5)
            ],
        )
    with of_google(router, other) as client:
        for _ in range(2):
            batch = client.batches.get(name=begun.name or "")
            assert batch.dest is not None
            assert len(batch.dest.inlined_responses or ()) == 5
        assert begun.name in [one.name for one in client.batches.list()]
    check(router, key_id, text, 5)


def test_a_gemini_batch_of_a_file_is_booked_when_its_file_is_fetched(
    router: Router, owner: tuple[str, str], other: str
) -> None:
    key_id, key = owner
    text = marker()
    asked = [
        {"key": f"r{n}", "request": {"contents": [{"role": "user", "parts": [{"text": f"{text} {n}"}]}]}}
        for n in range(5)
    ]
    with of_google(router, key) as client:
        file = client.files.upload(file=jsonl(asked), config={"mime_type": "application/jsonl"})
        begun = client.batches.create(model=GEMINI, src=file.name or "")
    with of_google(router, other) as client:
        batch = client.batches.get(name=begun.name or "")
        assert batch.dest is not None
        for _ in range(2):
            assert client.files.download(file=batch.dest.file_name or "").count(b"\n") == 5
    check(router, key_id, text, 5)

"""The sandbox provider refuses strangers and nonsense, and misbehaves as it is told to."""

import gzip
import json
import subprocess
import sys
import time
from typing import Any

import pytest
import requests
from sandbox_kit import ANTHROPIC, BEARER, CHAT, CONTENT, GEMINI_PATH, GOOGLE, KEY, MESSAGE, invoice, only_attempt, post


@pytest.fixture
def url(sandbox_url: str) -> str:
    """The provider's address; its invoice is empty."""
    requests.delete(f"{sandbox_url}/invoice", timeout=5)
    return sandbox_url


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/chat/completions", CHAT, {}),
        ("/v1/chat/completions", CHAT, {"authorization": "Bearer sk-proxy-" + "0" * 64}),
        ("/v1/messages", MESSAGE, {"x-api-key": "sk-ant-1", "anthropic-version": "2023-06-01"}),
        (f"{GEMINI_PATH}:generateContent", CONTENT, {}),
    ],
)
def test_strangers_are_refused(url: str, path: str, body: object, headers: dict[str, str]) -> None:
    answer = post(url, path, body, headers)
    assert answer.status_code == 401
    assert "error" in answer.json()
    assert only_attempt(url)["cost_nanos"] == 0


def test_a_proxy_key_that_comes_through_is_noticed(url: str) -> None:
    post(url, "/v1/chat/completions", CHAT, BEARER | {"x-other": "sk-proxy-leaked"})
    assert only_attempt(url)["saw_router_secret"] is True
    assert "leaked" not in json.dumps(invoice(url))


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        ("/v1/chat/completions", {"model": "gpt-4o"}, BEARER),
        ("/v1/chat/completions", CHAT | {"n": 0}, BEARER),
        ("/v1/chat/completions", CHAT | {"max_tokens": "5"}, BEARER),
        ("/v1/chat/completions", [1], BEARER),
        ("/v1/messages", {"model": "claude-sonnet-4-6", "messages": MESSAGE["messages"]}, ANTHROPIC),
        ("/v1/messages", MESSAGE, {"x-api-key": KEY}),
        ("/v1/embeddings", {"model": "text-embedding-3-small"}, BEARER),
        ("/v1/chat/completions", CHAT, BEARER | {"x-sandbox": "nonsense"}),
    ],
)
def test_what_makes_no_sense_is_400(url: str, path: str, body: object, headers: dict[str, str]) -> None:
    assert post(url, path, body, headers).status_code == 400


def test_unknown_paths_are_404(url: str) -> None:
    assert post(url, "/v1/nothing", {}, BEARER).status_code == 404
    assert post(url, f"{GEMINI_PATH}:invented", CONTENT, GOOGLE).json()["error"]["status"] == "NOT_FOUND"


def stream_of(url: str, behaviour: str, **more: Any) -> requests.Response:
    return post(url, "/v1/chat/completions", CHAT | {"stream": True}, BEARER | {"x-sandbox": behaviour}, **more)


def test_behaviour_by_prompt_and_by_model(url: str) -> None:
    prompt = {"messages": [{"role": "user", "content": "sandbox:words=3 hello"}]}
    answer = post(url, "/v1/chat/completions", CHAT | prompt, BEARER).json()
    assert answer["usage"]["completion_tokens"] == 3
    assert post(url, "/v1/chat/completions", CHAT | {"model": "gpt-4o-mini-sandbox-503"}, BEARER).status_code == 503


@pytest.mark.parametrize("how", ["break", "break=fin"])
@pytest.mark.parametrize("stream", [True, False])
def test_break(url: str, how: str, stream: bool) -> None:
    headers = BEARER | {"x-sandbox": how}
    with pytest.raises((requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError)):
        post(url, "/v1/chat/completions", CHAT | {"stream": stream}, headers)
    attempt = only_attempt(url)
    assert attempt["cut"] is True
    assert attempt["cost_nanos"] > 0


def test_break_early(url: str) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        stream_of(url, "break=early")
    assert only_attempt(url)["cost_nanos"] == 0


def test_overrun_says_three_times_the_limit(url: str) -> None:
    body = CHAT | {"max_tokens": 10}
    answer = post(url, "/v1/chat/completions", body, BEARER | {"x-sandbox": "overrun"}).json()
    assert answer["usage"]["completion_tokens"] == 30


def test_no_usage_is_billed_all_the_same(url: str) -> None:
    answer = post(url, "/v1/chat/completions", CHAT, BEARER | {"x-sandbox": "nousage"}).json()
    assert "usage" not in answer
    assert only_attempt(url)["cost_nanos"] > 0


def test_error_event(url: str) -> None:
    answer = stream_of(url, "error-event")
    assert answer.status_code == 200
    assert '"code":"server_error"' in answer.text
    assert "[DONE]" not in answer.text
    assert only_attempt(url)["cost_nanos"] == 0


def test_gzip(url: str) -> None:
    answer = stream_of(url, "gzip", stream=True)
    assert b"[DONE]" in gzip.decompress(answer.raw.read())


def test_a_rate_is_kept(url: str) -> None:
    started = time.monotonic()
    assert stream_of(url, "events=20,rate=100").text.count("data: ") == 20 + 3
    assert time.monotonic() - started >= 0.19


@pytest.mark.parametrize("how", ["hang", "slow=60"])
def test_a_client_that_leaves_before_the_answer_pays_nothing(url: str, how: str) -> None:
    with pytest.raises(requests.exceptions.ReadTimeout):
        requests.post(f"{url}/v1/chat/completions", json=CHAT, headers=BEARER | {"x-sandbox": how}, timeout=0.2)
    attempt = only_attempt(url)
    assert attempt["client_aborted"] is True
    assert attempt["cost_nanos"] == 0


def _leave_after_first_event(url: str, path: str, body: object, headers: dict[str, str]) -> None:
    headers = headers | {"x-sandbox": "events=400,rate=40"}
    with requests.post(f"{url}{path}", json=body, headers=headers, timeout=5, stream=True) as answer:
        next(answer.iter_content(chunk_size=None))


def test_a_client_that_leaves_pays_what_was_produced(url: str) -> None:
    _leave_after_first_event(url, "/v1/messages", MESSAGE | {"stream": True, "max_tokens": 400}, ANTHROPIC)
    attempt = only_attempt(url)
    assert attempt["client_aborted"] is True
    assert attempt["usage"]["output_tokens"] < 100
    assert attempt["cost_nanos"] == 4 * 3_000 + attempt["usage"]["output_tokens"] * 15_000


def test_at_gemini_a_client_that_leaves_pays_everything(url: str) -> None:
    _leave_after_first_event(url, f"{GEMINI_PATH}:streamGenerateContent?alt=sse", CONTENT, GOOGLE)
    assert only_attempt(url)["usage"]["output_tokens"] == 400


def test_a_taken_port_is_told(url: str) -> None:
    port = url.rpartition(":")[2]
    command = [sys.executable, "-m", "proxyd.sandbox", "--bind", f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


@pytest.mark.parametrize(
    ("credential", "statuses"),
    [
        ("sandbox-answers-401-abcd1234", [401, 401]),
        ("sandbox-answers-429-abcd1235", [429, 429]),
        ("sandbox-answers-503-1of2-abcd1236", [503, 200, 503, 200]),
        ("sandbox-answers-429-2of3-abcd1237", [429, 429, 200, 429]),
        ("sandbox-answers-418-abcd1238", [200]),
        ("sandbox-answers-401", [200]),
    ],
)
def test_a_credential_may_be_told_to_fail(url: str, credential: str, statuses: list[int]) -> None:
    headers = {"authorization": f"Bearer {credential}"}
    answers = [post(url, "/v1/chat/completions", CHAT, headers) for _ in statuses]
    assert [answer.status_code for answer in answers] == statuses
    for answer in answers:
        assert ("retry-after" in answer.headers) == (answer.status_code in (429, 503))
    attempts = invoice(url)["attempts"]
    assert [bool(attempt["cost_nanos"]) for attempt in attempts] == [status == 200 for status in statuses]
    assert {attempt["key_ending"] for attempt in attempts} == {credential[-4:]}


def test_a_credential_may_be_told_to_be_hung_up_on(url: str) -> None:
    headers = {"authorization": "Bearer sandbox-answers-nothing-abcd1239"}
    with pytest.raises(requests.ConnectionError):
        post(url, "/v1/chat/completions", CHAT, headers)
    assert (only_attempt(url)["cut"], only_attempt(url)["cost_nanos"]) == (True, 0)

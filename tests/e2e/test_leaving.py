"""Clients that leave early, uploads that break off, providers that say too much: nothing is lost, nothing leaks."""

import gzip
import json
import time
from collections.abc import Callable

import pytest
import requests
from calls import chat, code, marker, spend_of
from harness import Json, Router, eventually
from process_kit import cpu_seconds, peak_mb
from raw_http import Heard, Line, ScriptedProvider, bearer, chat_request, dial, ledger_rows, reply, request

LIMITS_TOLD = {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset", "x-spend-limit", "x-spend-remaining"}
ANSWER = json.dumps(
    {
        "model": "gpt-4o-mini",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    }
).encode()


def row_of(router: Router, key_id: str) -> Json:
    eventually(lambda: ledger_rows(router, key_id) != [], what="the row")
    (row,) = ledger_rows(router, key_id)
    return row


def gemini_request(key: str, text: str, method: bytes) -> bytes:
    document = {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 4_000}}
    body = json.dumps(document).encode()
    line = b"POST /v1beta/models/gemini-2.5-flash:" + method
    return request(line, b"x-goog-api-key: " + key.encode(), b"Content-Length: %d" % len(body), body=body)


@pytest.mark.parametrize("method", [b"generateContent", b"streamGenerateContent?alt=sse", b"streamGenerateContent"])
def test_gemini_bills_on_also_when_its_answer_had_not_begun(router: Router, method: bytes) -> None:
    key_id, key = router.create_key(name="gone", spend_limit_usd="1")
    text = marker()
    with dial(router) as line:
        line.send(gemini_request(key, f"sandbox:slow=1 sandbox:words=40 {text}", method))
        eventually(lambda: text in str(router.invoice()), what="the provider's attempt")
    (attempt,) = router.attempts(text)
    row = row_of(router, key_id)
    assert attempt["usage"]["output_tokens"] >= 40
    assert (row["cost_nanos"], row["flags"]) == (attempt["cost_nanos"], [])
    spend_of(router, key_id)


def test_gemini_is_read_to_its_end_when_its_stream_is_one_list(router: Router) -> None:
    key_id, key = router.create_key(name="list", spend_limit_usd="1")
    text = marker()
    with dial(router) as line:
        line.send(gemini_request(key, f"sandbox:events=30,rate=30 {text}", b"streamGenerateContent"))
        line.head()
        line.chunk()
    (attempt,) = router.attempts(text)
    row = row_of(router, key_id)
    assert (row["cost_nanos"], row["outcome"], row["flags"]) == (attempt["cost_nanos"], "client_gone", [])


def test_who_leaves_before_the_answer_pays_for_the_prompt(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="prompt", spend_limit_usd="1")
    text = "word " * 2_000
    provider.play(lambda line, _: line.rest())
    with dial(lab) as line:
        line.send(chat_request(key, text))
        eventually(lambda: provider.heard != [], what="the request at the provider")
    row = row_of(lab, key_id)
    assert (row["outcome"], row["status"], row["flags"]) == ("client_gone", None, ["estimated"])
    assert row["input_tokens"] >= 2_000
    assert row["cost_nanos"] > 0


def test_an_upload_that_breaks_off_after_the_answer_began_is_written_down(
    lab: Router, provider: ScriptedProvider
) -> None:
    key_id, key = lab.create_key(name="upload")

    def answers_early(line: Line, _: Heard) -> None:
        line.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nabc")
        line.rest()

    provider.play(answers_early, reads_bodies=False)
    with dial(lab) as line:
        begun = b"%x\r\n%b\r\n" % (100_000, b"x" * 100_000)
        line.send(request(b"POST /openai/v1/files", bearer(key), b"Transfer-Encoding: chunked") + begun)
        eventually(lambda: provider.heard != [], what="the request at the provider")
        line.send(b"no chunk\r\n")
        assert line.answer().status == 400
    assert row_of(lab, key_id)["outcome"] == "client_gone"


@pytest.mark.parametrize(
    ("kind", "fields", "pack"),
    [
        (b"application/json", (), bytes),
        (b"application/json", (b"Content-Encoding: gzip",), gzip.compress),
        (b"text/event-stream", (), bytes),
    ],
    ids=["plain", "compressed", "events"],
)
def test_an_error_that_repeats_the_credential_is_masked(
    lab: Router, provider: ScriptedProvider, kind: bytes, fields: tuple[bytes, ...], pack: Callable[[bytes], bytes]
) -> None:
    _, key = lab.create_key(name="echo")
    credential = lab.credentials["openai"].encode()
    echo = b"X-Echo: Bearer " + credential
    provider.play(lambda line, _: line.send(reply(401, pack(b"no: " + credential), echo, *fields, kind=kind)))
    answer = chat(lab, key, stream=True)
    assert answer.status_code == 401
    assert answer.content == b"no: [provider credential]"
    assert answer.headers["x-echo"] == "Bearer [provider credential]"


@pytest.mark.parametrize("status", [302, 401, 500])
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        (b"br", bytes),
        (b"gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        (b"gzip", lambda body: gzip.compress(body)[:-4]),
        (b"identity", gzip.compress),
    ],
    ids=["unknown", "twice", "cut", "unsaid"],
)
def test_w6_an_error_that_cannot_be_read_is_kept_back(
    lab: Router, provider: ScriptedProvider, status: int, coding: bytes, pack: Callable[[bytes], bytes]
) -> None:
    key_id, key = lab.create_key(name="oddly compressed")
    body = pack(b"no: " + lab.credentials["openai"].encode())
    provider.play(lambda line, _: line.send(reply(status, body, b"Content-Encoding: " + coding)))
    answer = chat(lab, key)
    assert (answer.status_code, answer.headers["x-router-error"]) == (502, "provider_unreachable")
    assert str(status) in answer.json()["error"]["message"]
    assert "content-encoding" not in answer.headers
    assert row_of(lab, key_id)["outcome"] == "provider_error"


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_passed_on_and_costs_nothing(lab: Router, provider: ScriptedProvider, status: int) -> None:
    key_id, key = lab.create_key(name="elsewhere", spend_limit_usd="1")
    provider.play(lambda line, _: line.send(reply(status, b"{}", b"Location: https://elsewhere.example/")))
    with dial(lab) as line:
        line.send(chat_request(key, "word " * 2_000))
        assert line.answer().status == status
    row = row_of(lab, key_id)
    assert (row["cost_nanos"], row["status"], row["flags"]) == (0, status, [])
    provider.play(lambda line, _: line.send(reply()))  # for whoever asks next, and follows


def test_w6_an_error_that_inflates_takes_neither_time_nor_memory(lab: Router, provider: ScriptedProvider) -> None:
    _, key = lab.create_key(name="bomb")
    (worker,) = lab.worker_pids()
    bomb = gzip.compress(b"\0" * 80_000_000)
    chat(lab, key)
    before = cpu_seconds(worker), peak_mb(worker)
    for _ in range(5):
        provider.play(lambda line, _: line.send(reply(500, bomb, b"Content-Encoding: gzip")))
        assert chat(lab, key).status_code == 502
    assert cpu_seconds(worker) - before[0] < 0.5
    assert peak_mb(worker) - before[1] < 20


def test_a_revoked_key_sees_nothing_of_itself_either(router: Router) -> None:
    key_id, key = router.create_key(name="pages")
    headers = {"Authorization": f"Bearer {key}"}
    for path in ("/v1/key", "/v1/models") * 4:  # so that both workers know it
        assert requests.get(router.proxy_url + path, headers=headers, timeout=10).status_code == 200
    router.api("DELETE", f"/v1/keys/{key_id}")
    for path in ("/v1/key", "/v1/models") * 4:
        answer = requests.get(router.proxy_url + path, headers=headers, timeout=10)
        assert (answer.status_code, code(answer)) == (403, "key_revoked")


def test_every_answer_to_a_limited_key_tells_its_limits(router: Router) -> None:
    _, key = router.create_key(name="limits", spend_limit_usd="1", rate_limit_rpm=60, allowed_models=["gpt-*"])
    headers = {"Authorization": f"Bearer {key}"}
    answers = [
        chat(router, key),
        chat(router, key, model="claude-sonnet-4-6"),
        requests.get(f"{router.proxy_url}/v1/key", headers=headers, timeout=10),
        requests.get(f"{router.proxy_url}/v1/models", headers=headers, timeout=10),
    ]
    assert [answer.status_code for answer in answers] == [200, 403, 200, 200]
    for answer in answers:
        assert {name.lower() for name in answer.headers} >= LIMITS_TOLD


@pytest.mark.parametrize(
    ("state", "status", "reason"),
    [
        ({"allowed_ips": ["10.0.0.0/8"]}, 403, "ip_blocked"),
        ({"paused": True}, 403, "key_paused"),
        ({}, 400, "invalid_request"),
    ],
)
def test_a_refusal_before_any_limit_was_judged_tells_them_too(
    router: Router, state: dict[str, object], status: int, reason: str
) -> None:
    key_id, key = router.create_key(name="first checks", spend_limit_usd="1", rate_limit_rpm=60)
    if state:
        router.edit(key_id, **state)
    answer = requests.post(
        f"{router.proxy_url}/v1/chat/completions",
        data="no JSON",
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=10,
    )
    assert (answer.status_code, code(answer)) == (status, reason)
    assert {name.lower() for name in answer.headers} >= LIMITS_TOLD
    assert answer.headers["x-ratelimit-remaining"] == "60"


def test_a_refusal_tells_the_limits_that_hold_now(router: Router) -> None:
    """Also where the policy was edited since this worker last looked at it, and the refusal came of that."""
    key_id, key = router.create_key(name="edited")
    for _ in range(4):
        assert chat(router, key).status_code == 200
    router.edit(key_id, spend_limit_usd="0.000000001", rate_limit_rpm=90)
    for _ in range(4):
        answer = chat(router, key)
        assert (answer.status_code, code(answer)) == (403, "spend_exceeded")
        assert answer.headers["x-ratelimit-limit"] == "90"
        assert answer.headers["x-spend-limit"] == "0.000000001"


def test_without_counters_money_fails_closed_and_the_rate_fails_open(lab: Router, provider: ScriptedProvider) -> None:
    provider.play(lambda line, _: line.send(reply(200, ANSWER)))
    _, rated = lab.create_key(name="rated", rate_limit_rpm=100)
    _, capped = lab.create_key(name="capped", spend_limit_usd="1")
    assert [chat(lab, key).status_code for key in (rated, capped)] == [200, 200]
    path = lab.data_dir / "counters.db"
    parts = [part for part in sorted(lab.data_dir.glob("counters.db*")) if part.name != "counters.db.lock"]
    for part in parts:
        part.rename(part.with_name(f"aside-{part.name}"))
    path.mkdir()  # no file can be opened or made there
    try:
        until = time.monotonic() + 6  # beyond the life of what is cached of a key
        while time.monotonic() < until:
            assert chat(lab, rated).status_code == 200
            refused = chat(lab, capped)
            assert (refused.status_code, code(refused)) == (503, "limits_unavailable")
            time.sleep(0.5)
    finally:
        path.rmdir()
        for part in parts:
            part.with_name(f"aside-{part.name}").rename(part)
    eventually(lambda: chat(lab, capped).status_code == 200, what="the counters' return")

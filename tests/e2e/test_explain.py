"""Why was it refused, what became of it, what would become of it: told truly, over the API, soon."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import requests
from ask_kit import SPEAK, ask, told
from calls import about, chat, code, generate, messages
from harness import Json, Router, eventually
from raw_http import Ended, Line, ScriptedProvider, bearer, chat_body, dial, ledger_rows, reply, request

from shared.catalog import PROVIDERS

Call = Callable[[], requests.Response]


def refusals(router: Router, key_id: str) -> dict[str, Json]:
    """By reason."""
    answer = router.api("GET", f"/v1/keys/{key_id}/refusals")
    assert answer.status_code == 200, answer.text
    return {one["reason"]: one for one in answer.json()["data"]}


def request_rows(router: Router, key_id: str, count: int) -> list[Json]:
    """The newest first, once there are `count`."""
    found: list[Json] = []

    def there() -> bool:
        answer = router.api("GET", f"/v1/keys/{key_id}/requests")
        assert answer.status_code == 200, answer.text
        found[:] = answer.json()["data"]
        return len(found) >= count

    eventually(there, what=f"{count} requests in the ledger")
    return found


# What was refused


def test_it_works(router: Router) -> None:
    """Each reason of a key with its count and what was said last, a moment after."""
    key_id, key = router.create_key(name="refused", allowed_models=["gpt-4o*"], rate_limit_rpm=100)
    waits = []
    for number in range(1, 4):
        response = chat(router, key, model="gpt-4.1")
        begun = time.monotonic()
        eventually(lambda n=number: refusals(router, key_id).get("model_not_allowed", {}).get("count") == n)  # type: ignore[misc]
        waits.append(time.monotonic() - begun)
    assert sorted(waits)[1] < 2.0, f"seen after {waits} s"
    one = refusals(router, key_id)["model_not_allowed"]
    assert (one["status"], one["model"], one["client_ip"]) == (403, "gpt-4.1", "127.0.0.1")
    assert one["message"] == response.json()["error"]["message"]
    assert one["request_id"] == response.headers["x-request-id"]
    messages(router, key)
    generate(router, key)
    eventually(lambda: refusals(router, key_id)["model_not_allowed"]["count"] == 5)
    assert refusals(router, key_id)["model_not_allowed"]["model"] in ("gemini-2.5-flash", "claude-sonnet-4-6")


def test_refusals_of_both_workers_are_counted_through_their_deaths(router: Router) -> None:
    key_id, key = router.create_key(name="counted", paused=True)
    for number in (20, 40):
        for _ in range(20):
            assert code(chat(router, key)) == "key_paused"
        eventually(lambda n=number: refusals(router, key_id).get("key_paused", {}).get("count") == n)  # type: ignore[misc]
        router.kill_worker()
        router.kill_writer()


def test_a_key_that_is_not_known_leaves_no_trace(router: Router) -> None:
    key_id, key = router.create_key(name="mistyped")
    for wrong in (f"{key[:-1]}{'0' if key[-1] != '0' else '1'}", f"sk-proxy-{'0' * 64}", "nonsense"):
        assert code(chat(router, wrong)) == "invalid_proxy_key"
    assert code(chat(router, key, model="nobodys")) == "invalid_request"
    eventually(lambda: list(refusals(router, key_id)) == ["invalid_request"])


def test_a_flood_of_refusals_does_not_slow_others(router: Router) -> None:
    """As fast as four connections can, for a second: whoever asks meanwhile is answered as before."""
    key_id, key = router.create_key(name="flood", paused=True)
    _, other = router.create_key(name="other")
    flood = request(b"GET /v1/models", bearer(key)) * 50
    lines = [dial(router) for _ in range(4)]
    answered, took = 0, []
    try:
        ends = time.monotonic() + 1.0
        while time.monotonic() < ends:
            for line in lines:
                line.send(flood)
            begun = time.monotonic()
            about(router, other)
            took.append(time.monotonic() - begun)
            for line in lines:
                for _ in range(50):
                    assert line.answer().code == "key_paused"
                    answered += 1
    finally:
        for line in lines:
            line.sock.close()
    took.sort()
    assert took[len(took) // 2] < 0.5, f"{answered} refusals, others after {took}"
    eventually(lambda: refusals(router, key_id).get("key_paused", {}).get("count") == answered)


# What became of requests


def test_a_request_is_told_with_how_long_it_took(router: Router) -> None:
    key_id, key = router.create_key(name="timed")
    quick = chat(router, key)
    slow = chat(router, key, "sandbox:slow=0.3 hello", stream=True)
    assert (quick.status_code, slow.status_code) == (200, 200)
    second, first = request_rows(router, key_id, 2)
    told_ids = [answer.headers["x-router-request-id"] for answer in (quick, slow)]
    assert [first["id"], second["id"]] == told_ids
    assert (first["status"], first["provider_status"], first["outcome"]) == (200, 200, "ok")
    assert (first["streamed"], second["streamed"]) == (False, True)
    assert 0 <= first["first_byte_ms"] <= first["latency_ms"] < 300 <= second["first_byte_ms"] <= second["latency_ms"]
    assert float(first["cost_usd"]) > 0
    assert first["output_tokens"] == quick.json()["usage"]["completion_tokens"]


def breaks_off(_: Line, __: object) -> None:
    raise Ended


def test_the_status_that_the_client_was_given_is_told_beside_the_providers(
    lab: Router, provider: ScriptedProvider
) -> None:
    key_id, key = lab.create_key(name="statuses")
    scripts: list[tuple[Any, int, int | None, str]] = [
        (
            lambda line, _: line.sock.sendall(reply(429, b'{"error":{"message":"slow down"}}')),
            429,
            429,
            "provider_error",
        ),
        (breaks_off, 502, None, "unknown"),
        (lambda line, _: line.sock.sendall(reply(500, b"\x1f\x8bnot said")), 502, 500, "provider_error"),
    ]
    for number, (script, status, theirs, outcome) in enumerate(scripts, start=1):
        provider.play(script)
        assert chat(lab, key).status_code == status
        newest = request_rows(lab, key_id, number)[0]
        assert (newest["status"], newest["provider_status"], newest["outcome"]) == (status, theirs, outcome)
        assert (newest["first_byte_ms"] is None) == (theirs is None)
    eventually(lambda: "provider_unreachable" in refusals(lab, key_id), 5, "the refusal")
    assert refusals(lab, key_id)["provider_unreachable"]["status"] == 502


def test_a_client_that_left_was_given_nothing(lab: Router, provider: ScriptedProvider) -> None:
    key_id, key = lab.create_key(name="leaver")
    provider.play(lambda *_: None)
    with dial(lab) as line:
        body = chat_body("bye")
        line.send(request(b"POST /v1/chat/completions", bearer(key), b"Content-Length: %d" % len(body), body=body))
        eventually(lambda: len(provider.heard) == 1)
    (row,) = request_rows(lab, key_id, 1)
    assert (row["status"], row["first_byte_ms"], row["outcome"]) == (None, None, "client_gone")
    assert ledger_rows(lab, key_id)[0]["sent_status"] is None


# What would become of one


def cases(router: Router) -> list[tuple[str, Json, Json, Callable[[str], requests.Response]]]:
    """The code, the key, what is asked beforehand, and the same in earnest."""
    ask_chat = partial(chat, router)
    film = partial(chat, router, path="/openai/v1/videos", model="sora-2")
    asked = {"model": "gpt-4o-mini", "max_tokens": 16, "ip": "127.0.0.1"}
    return [
        ("key_paused", {"paused": True}, asked, ask_chat),
        ("ip_blocked", {"allowed_ips": ["10.0.0.0/8"]}, asked, ask_chat),
        ("provider_not_allowed", {"allowed_providers": ["gemini"]}, asked, ask_chat),
        ("model_not_allowed", {"allowed_models": ["o3"]}, asked, ask_chat),
        ("invalid_request", {}, asked | {"model": "nobodys"}, lambda key: ask_chat(key, model="nobodys")),
        ("endpoint_not_metered", {"spend_limit_usd": "1"}, {"path": "/openai/v1/videos", "model": "sora-2"}, film),
        ("spend_exceeded", {"spend_limit_usd": "0"}, asked, ask_chat),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(7))
def test_the_dry_run_says_what_the_proxy_then_says(router: Router, number: int) -> None:
    expected, fields, asked, call = cases(router)[number]
    key_id, key = router.create_key(name="tried", **fields)
    found = router.api("POST", f"/v1/keys/{key_id}/check", json=asked).json()
    in_earnest = call(key)
    assert (found["refusal"]["code"], code(in_earnest)) == (expected, expected)
    assert found["refusal"]["status"] == in_earnest.status_code
    error = in_earnest.json()["error"]
    facts = found["refusal"]["facts"]
    assert set(facts) <= set(error)
    if expected != "spend_exceeded":  # of the text that was sent there is none in the dry run
        assert found["refusal"]["message"] == error["message"]
        assert {name: error[name] for name in facts} == facts


def test_the_dry_run_consumes_nothing(router: Router) -> None:
    key_id, key = router.create_key(name="once a minute", rate_limit_rpm=1, spend_limit_usd="1")
    for _ in range(3):
        found = router.api("POST", f"/v1/keys/{key_id}/check", json={"model": "gpt-4o-mini", "max_tokens": 16}).json()
        assert found["allowed"], found
    assert chat(router, key).status_code == 200
    found = router.api("POST", f"/v1/keys/{key_id}/check", json={"model": "gpt-4o-mini", "max_tokens": 16}).json()
    assert found["refusal"]["code"] == "rate_limited"
    assert len(request_rows(router, key_id, 1)) == 1
    assert refusals(router, key_id) == {}


# Every refusal says its code

BODY = b'{"model":"gpt-4o","messages":[]}'
HEADS: list[tuple[bytes, tuple[bytes, ...], bytes, str]] = [
    (b"POST /v1/chat/completions", (), BODY, "invalid_proxy_key"),
    (b"POST /v1/messages", (), BODY, "invalid_proxy_key"),
    (b"GET /v1/models", (), b"", "invalid_proxy_key"),
    (b"GET /v1/key", (), b"", "invalid_proxy_key"),
    (b"GET /v1/models", (b"{key}",), b"", "key_paused"),
    (b"GET /v1/models/gpt-4o", (b"{key}",), b"", "key_paused"),
    (b"GET /v1/key", (b"{key}",), b"", "key_paused"),
    (b"POST /v1/key", (b"{key}",), b"", "method_not_allowed"),
    (b"POST /healthz", (), b"", "method_not_allowed"),
    (b"OPTIONS /v1/messages", (), b"", "method_not_allowed"),
    (b"GET /nowhere", (), b"", "unknown_endpoint"),
    (b"GET /v1/live", (b"Connection: upgrade", b"Upgrade: websocket"), b"", "upgrade_not_supported"),
]


@pytest.mark.parametrize("dialect", SPEAK)
@pytest.mark.parametrize(("first", "fields", "body", "expected"), HEADS)
def test_every_refusal_has_its_code_in_the_header_and_in_the_body(
    router: Router, paused: str, dialect: str, first: bytes, fields: tuple[bytes, ...], body: bytes, expected: str
) -> None:
    sent = [bearer(paused) if field == b"{key}" else field for field in fields]
    answer = ask(router, first, *sent, *SPEAK[dialect], body=body)
    assert answer.code == expected
    assert answer.headers["content-type"] == "application/json"
    assert f'"{expected}"' in json.dumps(told(answer))


@pytest.fixture(scope="module")
def paused(router: Router) -> str:
    return router.create_key(name="paused", paused=True)[1]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/3.0\r\nHost: x\r\n\r\n", 505),
        (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_code_too(router: Router, head: bytes, status: int) -> None:
    with dial(router) as line:
        line.send(head)
        answer = line.answer()
    assert answer.status == status
    assert answer.code == ("method_not_allowed" if status == 405 else "invalid_request")
    assert answer.headers["content-type"] == "application/json"
    assert f'"{answer.code}"' in json.dumps(told(answer))


def test_a_key_sees_its_own_limits(router: Router) -> None:
    key_id, key = router.create_key(
        name="mine", spend_limit_usd="2", spend_reset="daily", rate_limit_rpm=5, allowed_ips=["127.0.0.0/8", "::1"],
        allowed_models=["gpt-4o*"], allowed_providers=["openai"],
    )  # fmt: skip
    assert chat(router, key).status_code == 200
    eventually(lambda: router.key(key_id)["spend"]["spent_usd"] != "0.00", what="the call's end")
    mine = about(router, key)
    shown = router.key(key_id)
    assert (mine["remaining_requests"], mine["rate_limit_rpm"]) == (4, 5)
    for name in ("id", "name", "prefix", "status", "allowed_ips", "allowed_models", "allowed_providers", "expires_at"):
        assert mine[name] == shown[name], name
    assert (mine["spend_limit_usd"], mine["spend_reset"]) == (shown["spend_limit_usd"], shown["spend_reset"])
    assert mine["spend"] == shown["spend"]


def test_commands_beside_a_running_router(router: Router) -> None:
    """What one changes holds for the next request, and the doctor finds all of it well."""
    key_id, key = router.create_key(name="by command")
    assert chat(router, key).status_code == 200
    assert json.loads(router.run("-m", "flask", "--app", "wsgi", "keys", "pause", key_id, "--json"))["paused"]
    assert code(chat(router, key)) == "key_paused"
    told = json.loads(router.run("-m", "flask", "--app", "wsgi", "doctor", "--json"))
    assert {finding["check"]: finding["state"] for finding in told["findings"]} == dict.fromkeys(
        ("settings", "data directory", "database", "counters", "proxy", "dashboard", "metrics", "addresses", "ledger", "clock",
         *(f"provider {slug}" for slug in PROVIDERS)), "ok"
    )  # fmt: skip

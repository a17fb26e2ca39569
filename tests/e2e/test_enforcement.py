"""The contract's enforcement table, row by row, on two real workers.

A refused request must reach no provider and consume nothing: the sandbox's invoice and the counters are asked.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
import requests
from calls import MODEL, about, chat, code, generate, marker, messages, own_spend, seen
from harness import Router

from shared import keys

TIMES = 6  # fresh connections, so that with all but certainty both workers have judged


def refused(
    router: Router, key: str, call: Callable[[str], requests.Response], status: int, expected: str
) -> requests.Response:
    """Every try is refused alike, nothing reaches the provider, nothing is consumed."""
    text = marker()
    for _ in range(TIMES):
        response = call(text)
        assert (response.status_code, code(response)) == (status, expected), response.text
        assert response.headers["content-type"].startswith("application/json")
        assert response.headers["x-request-id"].startswith("req_")
    assert seen(router, text) == 0
    return response


def test_it_works(router: Router) -> None:
    _, key = router.create_key(name="all")
    text = marker()
    response = chat(router, key, text)
    assert response.status_code == 200, response.text
    assert response.json()["usage"]["total_tokens"] > 0
    assert seen(router, text) == 1


@pytest.mark.parametrize("key", ["", "nonsense", "sk-proxy-" + "0" * 64, keys.mint(keys.PROXY_TAG).raw])
def test_1_an_unknown_key_is_401(router: Router, key: str) -> None:
    response = refused(router, key, lambda text: chat(router, key, text), 401, "invalid_proxy_key")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["x-should-retry"] == "false"


def test_1_a_management_token_is_the_wrong_kind(router: Router) -> None:
    response = refused(router, "", lambda text: chat(router, router.token, text), 401, "invalid_proxy_key")
    assert "management token" in response.json()["error"]["message"]


def test_2_a_revoked_key_is_403(router: Router) -> None:
    key_id, key = router.create_key(name="to be revoked")
    assert chat(router, key).status_code == 200
    assert router.api("DELETE", f"/v1/keys/{key_id}").status_code == 200
    refused(router, key, lambda text: chat(router, key, text), 403, "key_revoked")
    refused(router, key, lambda text: messages(router, key, text), 403, "key_revoked")


def test_3_an_expired_key_is_403(router: Router) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=2)
    _, key = router.create_key(name="short-lived", expires_at=soon.isoformat())
    assert chat(router, key).status_code == 200
    while datetime.now(UTC) < soon:
        about_now = chat(router, key)
        assert about_now.status_code in (200, 403)
    refused(router, key, lambda text: chat(router, key, text), 403, "key_expired")


def test_3b_a_paused_key_is_403_until_it_is_resumed(router: Router) -> None:
    key_id, key = router.create_key(name="paused for now", allowed_ips=["127.0.0.1"])
    assert chat(router, key).status_code == 200
    assert about(router, key)["status"] == "active"
    paused = router.api("POST", f"/v1/keys/{key_id}/pause")
    assert (paused.status_code, paused.json()["status"]) == (200, "paused")
    for call in (chat, messages, generate):
        response = refused(router, key, partial(call, router, key), 403, "key_paused")
        assert response.headers["x-should-retry"] == "false"
    own = requests.get(f"{router.proxy_url}/v1/key", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    assert (own.status_code, code(own)) == (403, "key_paused")
    assert "resumes it" in own.json()["error"]["message"]
    router.edit(key_id, allowed_ips=["10.0.0.0/8"])
    refused(router, key, lambda text: chat(router, key, text), 403, "key_paused")
    assert router.api("POST", f"/v1/keys/{key_id}/resume").json()["status"] == "active"
    refused(router, key, lambda text: chat(router, key, text), 403, "ip_blocked")


def test_4_an_address_outside_the_list_is_403(router: Router) -> None:
    _, key = router.create_key(name="elsewhere", allowed_ips=["10.0.0.0/8", "2001:db8::/32"])
    response = refused(router, key, lambda text: chat(router, key, text), 403, "ip_blocked")
    assert "127.0.0.1" in response.json()["error"]["message"]
    _, here = router.create_key(name="here", allowed_ips=["127.0.0.0/8"])
    assert chat(router, here).status_code == 200
    forged = chat(router, key, headers={"X-Forwarded-For": "10.0.0.1"})
    assert code(forged) == "ip_blocked"


def test_5_a_provider_outside_the_list_is_403_by_every_road(router: Router) -> None:
    _, key = router.create_key(name="anthropic only", allowed_providers=["anthropic"])
    assert messages(router, key).status_code == 200
    for path in ("/v1/chat/completions", "/openai/v1/chat/completions", "/openai/chat/completions"):
        refused(router, key, partial(chat, router, key, path=path), 403, "provider_not_allowed")
    refused(router, key, lambda text: chat(router, key, text, model="openai/gpt-4o-mini"), 403, "provider_not_allowed")
    refused(router, key, lambda text: chat(router, key, text, provider="anthropic"), 403, "provider_not_allowed")
    refused(router, key, lambda text: generate(router, key, text), 403, "provider_not_allowed")
    film = refused(
        router, key, lambda text: chat(router, key, text, path="/openai/v1/videos"), 403, "provider_not_allowed"
    )
    assert "openai" in film.json()["error"]["message"].lower()


def test_6_a_model_outside_the_globs_is_403(router: Router) -> None:
    _, key = router.create_key(name="4o only", allowed_models=["gpt-4o*"])
    assert chat(router, key, model="gpt-4o").status_code == 200
    assert chat(router, key, model="gpt-4o-mini").status_code == 200
    for model in ("gpt-4.1", "GPT-4o", "openai/gpt-4.1"):
        refused(router, key, partial(chat, router, key, model=model), 403, "model_not_allowed")
    refused(router, key, lambda text: generate(router, key, text), 403, "model_not_allowed")
    film = partial(chat, router, key, path="/openai/v1/videos")  # not metered, and its model is read all the same
    refused(router, key, partial(film, model="sora-2"), 403, "model_not_allowed")
    assert code(film(model="gpt-4o-video")) is None


def test_6_a_model_named_twice_is_400(router: Router) -> None:
    _, key = router.create_key(name="no tricks", allowed_models=["gpt-4o*"])
    text = marker()
    body = f'{{"model":"gpt-4o","messages":[{{"role":"user","content":"{text}"}}],"model":"gpt-4.1"}}'
    response = requests.post(
        f"{router.proxy_url}/v1/chat/completions",
        data=body,
        headers={"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        timeout=10,
    )
    assert (response.status_code, code(response)) == (400, "invalid_request")
    assert "model" in response.json()["error"]["message"]
    assert seen(router, text) == 0


def test_7_a_request_over_the_rate_is_429(router: Router) -> None:
    _, key = router.create_key(name="two a minute", rate_limit_rpm=2)
    assert [chat(router, key).status_code for _ in range(2)] == [200, 200]
    response = refused(router, key, lambda text: chat(router, key, text), 429, "rate_limited")
    wait = int(response.headers["retry-after"])
    assert 1 <= wait <= 120
    assert wait - 1 <= int(response.headers["retry-after-ms"]) / 1000 <= wait
    assert response.headers["x-ratelimit-limit"] == "2"
    assert response.headers["x-ratelimit-remaining"] == "0"
    assert response.json()["error"]["rate_limit_rpm"] == 2
    assert "x-should-retry" not in response.headers


def test_7_refused_requests_do_not_use_the_rate_up(router: Router) -> None:
    _, key = router.create_key(name="counted", rate_limit_rpm=5, allowed_models=["gpt-4o*"])
    before = about(router, key)["remaining_requests"]
    refused(router, key, lambda text: chat(router, key, text, model="gpt-4.1"), 403, "model_not_allowed")
    assert about(router, key)["remaining_requests"] == before


def test_8_a_request_that_does_not_fit_is_403(router: Router) -> None:
    key_id, key = router.create_key(name="one cent", spend_limit_usd="0.000001", spend_reset="daily")
    response = refused(router, key, lambda text: chat(router, key, text), 403, "spend_exceeded")
    error = response.json()["error"]
    assert (error["spend_limit_usd"], error["spent_usd"], error["held_usd"]) == ("0.000001", "0.00", "0.00")
    assert float(error["needed_usd"]) > 0.000001
    assert error["resets_at"].endswith("T00:00:00Z")
    assert response.headers["x-should-retry"] == "false"
    assert response.headers["x-spend-limit"] == "0.000001"
    assert router.key(key_id)["spend"]["spent_usd"] == "0.00"
    assert router.key(key_id)["spend"]["held_usd"] == "0.00"


def test_8_a_limit_of_zero_spends_nothing(router: Router) -> None:
    _, key = router.create_key(name="nothing", spend_limit_usd="0")
    refused(router, key, lambda text: chat(router, key, text), 403, "spend_exceeded")


def test_8b_a_request_that_fits_once_others_end_is_429(router: Router) -> None:
    _, key = router.create_key(name="busy", spend_limit_usd="0.01")
    stream = requests.post(
        f"{router.proxy_url}/v1/chat/completions",
        json={
            "model": MODEL,
            "max_tokens": 8_000,  # at the dearest price it could be served at, most of a cent
            "stream": True,
            "messages": [{"role": "user", "content": "sandbox:events=40,rate=10"}],
        },
        headers={"Authorization": f"Bearer {key}"},
        stream=True,
        timeout=30,
    )
    assert stream.status_code == 200, stream.text
    held = about(router, key)["spend"]["held_usd"]
    assert float(held) > 0.005
    response = refused(router, key, lambda text: chat(router, key, text, max_tokens=5_000), 429, "spend_held")
    assert 1 <= int(response.headers["retry-after"]) <= 5
    assert response.json()["error"]["held_usd"] == held
    assert b"[DONE]" in stream.content
    own_spend(router, key)
    assert chat(router, key, max_tokens=5_000).status_code == 200


def test_an_endpoint_without_a_meter_is_403_under_a_spend_limit(router: Router) -> None:
    _, capped = router.create_key(name="capped", spend_limit_usd="1")
    refused(
        router,
        capped,
        lambda text: chat(router, capped, text, path="/openai/v1/videos"),
        403,
        "endpoint_not_metered",
    )


def test_a_model_without_a_price_is_403_under_a_spend_limit(router: Router) -> None:
    _, capped = router.create_key(name="capped", spend_limit_usd="1")
    refused(router, capped, lambda text: chat(router, capped, text, model="openai/house-made"), 403, "model_not_priced")
    _, free = router.create_key(name="uncapped")
    assert code(chat(router, free, model="openai/house-made")) is None


def test_an_unknown_route_is_404(router: Router) -> None:
    _, key = router.create_key(name="lost")
    response = refused(
        router, key, lambda text: chat(router, key, text, path="/v1/v1/messages"), 404, "unknown_endpoint"
    )
    assert "leave /v1 out" in response.text


def test_refusals_speak_the_callers_dialect(router: Router) -> None:
    _, key = router.create_key(name="polyglot", allowed_models=["nothing"])
    openai = chat(router, key).json()["error"]
    assert openai["code"] == "model_not_allowed"
    assert {"message", "type", "code", "param"} <= set(openai)
    anthropic = messages(router, key).json()
    assert (anthropic["type"], anthropic["error"]["type"]) == ("error", "permission_error")
    assert anthropic["request_id"].startswith("req_")
    gemini = generate(router, key).json()["error"]
    assert (gemini["code"], gemini["status"]) == (403, "PERMISSION_DENIED")


def test_malformed_json_is_400_in_the_dialect(router: Router) -> None:
    _, key = router.create_key(name="broken")
    for path, header in (("/v1/chat/completions", "authorization"), ("/v1/messages", "authorization")):
        response = requests.post(
            f"{router.proxy_url}{path}", data=b'{"model": ', headers={header: f"Bearer {key}"}, timeout=10
        )
        assert (response.status_code, code(response)) == (400, "invalid_request")
        assert "error" in response.json()

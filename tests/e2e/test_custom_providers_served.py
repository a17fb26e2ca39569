"""Providers of an organisation's own through the whole product: the sandbox is one, and OpenAI's SDK speaks to it."""

from collections.abc import Iterator
from decimal import Decimal
from itertools import count

import openai
import pytest
import requests
from calls import marker
from harness import Json, Router, eventually

pytestmark = pytest.mark.e2e

MODEL = "gpt-4o-mini"
RATES = {"input_tokens": "3", "output_tokens": "7"}
_NAMES = count(1)


@pytest.fixture
def house(router: Router) -> Iterator[str]:
    """A provider `house`, which is the sandbox, with a price for one of its models. Its name is used up each time."""
    name = f"house-{next(_NAMES)}"
    sent = {"provider": name, "base_url": f"{router.sandbox_url}/v1", "credential": "sandbox-house-credential-7001"}
    answer = router.api("POST", "/v1/providers", json=sent)
    assert answer.status_code == 201, answer.text
    assert router.api("PUT", f"/v1/prices/{name}/{MODEL}", json={"rates": RATES}).status_code == 200
    yield name
    router.api("PATCH", f"/v1/providers/{name}", json={"enabled": False})


def rows(router: Router, key_id: str, wanted: int) -> list[Json]:
    place = f"/v1/keys/{key_id}/requests"
    eventually(lambda: len(router.api("GET", place).json()["data"]) >= wanted, what=f"{wanted} requests in the ledger")
    found: list[Json] = router.api("GET", place).json()["data"]
    return found


def test_it_works(router: Router, house: str) -> None:
    """By model and by path, whole and in events: the rows are what the provider's invoice says, at our price."""
    text = marker()
    key_id, key = router.create_key(name="own", spend_limit_usd="5", allowed_providers=[house])
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [{"role": "user", "content": text}]
    by_model = openai.OpenAI(api_key=key, base_url=f"{router.proxy_url}/v1", max_retries=0)
    by_path = openai.OpenAI(api_key=key, base_url=f"{router.proxy_url}/{house}/v1", max_retries=0)
    whole = by_model.chat.completions.create(model=f"{house}/{MODEL}", messages=messages, max_tokens=30)
    assert whole.model == MODEL
    by_path.chat.completions.create(model=MODEL, messages=messages, max_tokens=30)
    with by_model.chat.completions.create(
        model=f"{house}/{MODEL}", messages=messages, max_tokens=30, stream=True
    ) as stream:
        assert any(chunk.choices and chunk.choices[0].delta.content for chunk in stream)
    billed = router.attempts(text, 3)
    told = rows(router, key_id, 3)
    assert {row["provider"] for row in told} == {house}
    assert all(row["flags"] == [] for row in told)
    for row in told:
        cost = row["usage"]["input_tokens"] * Decimal("0.000003") + row["usage"]["output_tokens"] * Decimal("0.000007")
        assert Decimal(row["cost_usd"]) == cost
    counted = sorted((one["usage"]["input_tokens"], one["usage"]["output_tokens"]) for one in told)
    assert counted == sorted((one["usage"]["input_tokens"], one["usage"]["output_tokens"]) for one in billed)
    names = [one.id for one in by_model.models.list()]
    assert names == [f"{house}/{MODEL}"]
    usage = router.api("GET", "/v1/usage?group_by=provider").json()["data"]
    assert house in [line["provider"] for line in usage]
    assert router.api("POST", f"/v1/providers/{house}/test").json()["ok"]
    assert router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--key", key_id)


def test_googles_dialect_reaches_it(router: Router, house: str) -> None:
    """At the address that Google's SDK has of the model, with its slash as it is and escaped."""
    text = marker()
    key_id, key = router.create_key(name="own", spend_limit_usd="5", allowed_models=[f"{house}/*"])
    body = {"contents": [{"parts": [{"text": text}]}], "generationConfig": {"maxOutputTokens": 30}}
    for slash, method in (("/", "generateContent"), ("%2F", "streamGenerateContent"), ("/", "streamGenerateContent")):
        url = f"{router.proxy_url}/v1beta/models/{house}{slash}{MODEL}:{method}"
        answer = requests.post(url, json=body, headers={"x-goog-api-key": key}, timeout=30)
        assert answer.status_code == 200, answer.text
        chunks = answer.json() if method == "streamGenerateContent" else [answer.json()]
        assert chunks[0]["candidates"][0]["content"]["parts"][0]["text"]
    assert {(row["provider"], row["model"]) for row in rows(router, key_id, 3)} == {(house, MODEL)}
    assert len(router.attempts(text, 3)) == 3
    lost = requests.post(
        f"{router.proxy_url}/v1beta/models/{house}/{MODEL}:countTokens",
        json=body, headers={"x-goog-api-key": key}, timeout=30,
    )  # fmt: skip
    assert (lost.status_code, lost.headers["x-router-error"]) == (404, "unknown_endpoint")


def test_each_edit_holds_for_the_next_request_of_every_worker(router: Router, house: str) -> None:
    _, key = router.create_key(name="edits")
    sessions = [requests.Session() for _ in range(8)]
    body = {"model": f"{house}/{MODEL}", "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}

    def ask(session: requests.Session) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{router.proxy_url}/v1/chat/completions"
        return session.post(url, json=body, headers=headers, timeout=30).status_code

    for _ in range(10):
        for enabled, status in ((False, 503), (True, 200)):
            changed = router.api("PATCH", f"/v1/providers/{house}", json={"enabled": enabled})
            assert changed.status_code == 200
            assert {ask(session) for session in sessions} == {status}


def test_a_removed_one_is_gone_and_its_name_used_up(router: Router, house: str) -> None:
    _, key = router.create_key(name="gone", allowed_providers=[house])
    headers = {"Authorization": f"Bearer {key}"}
    body = {"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": "hello"}]}
    url = f"{router.proxy_url}/{house}/v1/chat/completions"
    assert requests.post(url, json=body, headers=headers, timeout=30).status_code == 200
    eventually(
        lambda: house in [one["provider"] for one in router.api("GET", "/v1/usage?group_by=provider").json()["data"]]
    )
    assert router.api("DELETE", f"/v1/providers/{house}").status_code == 200
    assert requests.post(url, json=body, headers=headers, timeout=30).status_code == 404
    again = router.api("POST", "/v1/providers", json={"provider": house, "base_url": "https://example.com/v1"})
    assert again.status_code == 422
    stranger = requests.post(url, json=body, headers={"Authorization": "Bearer sk-proxy-" + "0" * 64}, timeout=30)
    assert stranger.status_code == 401

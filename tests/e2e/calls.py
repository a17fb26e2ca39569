"""Calls to the proxy as an app makes them, one fresh connection each, so that both workers get their share."""

import uuid
from collections.abc import Callable, Mapping

import requests
from harness import Json, Router, eventually

MODEL = "gpt-4o-mini"


def marker() -> str:
    """A text that no other test sends: it is found again on the provider's invoice."""
    return f"marker-{uuid.uuid4().hex[:12]}"


def chat(
    router: Router,
    key: str,
    text: str = "hello",
    *,
    model: str = MODEL,
    max_tokens: int | None = 16,
    path: str = "/v1/chat/completions",
    headers: Mapping[str, str] | None = None,
    **body: object,
) -> requests.Response:
    document = {"model": model, "messages": [{"role": "user", "content": text}], **body}
    if max_tokens is not None:
        document["max_tokens"] = max_tokens
    headers = {"Authorization": f"Bearer {key}", **(headers or {})}
    return requests.post(f"{router.proxy_url}{path}", json=document, headers=headers, timeout=30)


def messages(
    router: Router, key: str, text: str = "hello", *, model: str = "claude-sonnet-4-6", **body: object
) -> requests.Response:
    document = {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": text}], **body}
    return requests.post(f"{router.proxy_url}/v1/messages", json=document, headers={"x-api-key": key}, timeout=30)


def generate(
    router: Router, key: str, text: str = "hello", *, model: str = "gemini-2.5-flash", **body: object
) -> requests.Response:
    document = {"contents": [{"role": "user", "parts": [{"text": text}]}], **body}
    url = f"{router.proxy_url}/gemini/v1beta/models/{model}:generateContent"
    return requests.post(url, json=document, headers={"x-goog-api-key": key}, timeout=30)


def code(response: requests.Response) -> str | None:
    """The router's own error code, None when the answer is the provider's."""
    return response.headers.get("x-router-error")


def about(router: Router, key: str) -> Json:
    """What the key itself can see of its limits."""
    response = requests.get(f"{router.proxy_url}/v1/key", headers={"Authorization": f"Bearer {key}"}, timeout=10)
    response.raise_for_status()
    told: Json = response.json()
    return told


def own_spend(router: Router, key: str) -> Json:
    """A key's money as it sees it itself, once nothing is held: counters hear of an end some milliseconds after it."""
    return _at_rest(lambda: about(router, key))


def spend_of(router: Router, key_id: str) -> Json:
    """The same as the management API tells it."""
    return _at_rest(lambda: router.key(key_id))


def _at_rest(ask: Callable[[], Json]) -> Json:
    found: Json = {}

    def rests() -> bool:
        found.update(ask()["spend"])
        return bool(found["held_usd"] == "0.00")

    eventually(rests, what="an end of all that is held")
    return found


def seen(router: Router, text: str) -> int:
    """How many attempts with this text the provider has on its invoice."""
    return sum(text in attempt["marker"] for attempt in router.invoice()["attempts"])

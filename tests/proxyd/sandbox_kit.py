"""What the sandbox's tests share: requests in each dialect, and a look at the invoice."""

import time
from collections.abc import Mapping
from typing import Any

import requests

KEY = "sandbox-test"
BEARER = {"authorization": f"Bearer {KEY}"}
ANTHROPIC = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
GOOGLE = {"x-goog-api-key": KEY}
PROMPT = "Hello, Wörld"
CHAT: dict[str, Any] = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
MESSAGE: dict[str, Any] = {
    "model": "claude-sonnet-4-6",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": PROMPT}],
}
CONTENT: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
GEMINI_PATH = "/v1beta/models/gemini-2.5-flash"


def invoice(url: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{url}/invoice", timeout=5).json()
    return found


def only_attempt(url: str) -> dict[str, Any]:
    """The one attempt on the invoice, once it has ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        attempts: list[dict[str, Any]] = invoice(url)["attempts"]
        if attempts and all(attempt["finished"] for attempt in attempts):
            assert len(attempts) == 1
            return attempts[0]
    raise AssertionError("the attempt never ended")


def post(url: str, path: str, body: object, headers: Mapping[str, str], **more: Any) -> requests.Response:
    return requests.post(f"{url}{path}", json=body, headers=headers, timeout=10, **more)

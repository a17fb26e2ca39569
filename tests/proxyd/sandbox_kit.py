"""What the sandbox's tests share: requests in each dialect, and a look at the invoice."""

import time

import requests

KEY = "sandbox-test"
BEARER = {"authorization": f"Bearer {KEY}"}
ANTHROPIC = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
GOOGLE = {"x-goog-api-key": KEY}
PROMPT = "Hello, Wörld"
CHAT = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": PROMPT}]}
MESSAGE = {"model": "claude-sonnet-4-6", "max_tokens": 100, "messages": [{"role": "user", "content": PROMPT}]}
CONTENT = {"contents": [{"role": "user", "parts": [{"text": PROMPT}]}]}
GEMINI_PATH = "/v1beta/models/gemini-2.5-flash"


def invoice(url):
    return requests.get(f"{url}/invoice", timeout=5).json()


def only_attempt(url):
    """The one attempt on the invoice, once it has ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        attempts = invoice(url)["attempts"]
        if attempts and all(attempt["finished"] for attempt in attempts):
            assert len(attempts) == 1
            return attempts[0]
    raise AssertionError("the attempt never ended")


def post(url, path, body, headers, **more):
    return requests.post(f"{url}{path}", json=body, headers=headers, timeout=10, **more)

"""One request by hand, in the dialect of whoever would send it."""

import json

from harness import Json, Router
from raw_http import Answer, dial, request

SPEAK = {
    "openai": (),
    "anthropic": (b"anthropic-version: 2023-06-01",),
    "gemini": (b"x-goog-api-client: google-genai-sdk/3",),
}


def ask(router: Router, first: bytes, *fields: bytes, body: bytes = b"") -> Answer:
    """One request on a connection of its own."""
    length = (b"Content-Length: %d" % len(body),) if body else ()
    with dial(router) as line:
        line.send(request(first, *fields, *length, body=body))
        return line.answer(to_head=first.startswith(b"HEAD "))


def told(answer: Answer) -> Json:
    found: Json = json.loads(answer.body)
    return found

"""`ledger verify` on what the router itself has written."""

import json

import requests
from calls import spend_of
from harness import Router


def test_what_the_router_wrote_agrees(router: Router) -> None:
    key_id, key = router.create_key(name="verified", spend_limit_usd="50", spend_reset="monthly")
    calls = [
        ("/v1/chat/completions", {"model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": text}]})
        for model in ("gpt-4o-mini", "gpt-4.1")
        for stream in (False, True)
        for text in ("plain", "sandbox:nousage", "sandbox:500", "sandbox:overrun")
    ] + [
        ("/v1/messages", {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": [{"role": "user", "content": "hello"}]}),
        ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "hello"}),
        ("/gemini/v1beta/models/gemini-2.5-flash:generateContent",
         {"contents": [{"parts": [{"text": "hello"}]}], "generationConfig": {"maxOutputTokens": 50}}),
    ]  # fmt: skip
    for path, body in calls:
        answer = requests.post(
            router.proxy_url + path, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        assert answer.status_code in (200, 500), answer.text
    router.wait_for_ledger(key_id, len(calls))
    spend_of(router, key_id)
    said = json.loads(router.run("-m", "flask", "--app", "wsgi", "ledger", "verify", "--json", "--key", key_id))
    assert (said["agrees"], said["rows"], said["counters_agree"]) == (True, len(calls), 1)
    assert said["recomputed"] >= 12

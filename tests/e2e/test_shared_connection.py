"""Requests of many clients on one connection, as proxies before the router send them: each is judged by its own key."""

import pytest
from calls import marker, seen
from harness import Router, eventually
from raw_http import Line, chat_body, dial, ledger_rows, request

from shared import keys

PLACES = {"bearer": b"Authorization: Bearer ", "x-api-key": b"x-api-key: ", "x-goog-api-key": b"x-goog-api-key: "}


def ask(line: Line, text: str, key: str, place: bytes, *, behind: bool) -> tuple[int, str | None]:
    """The status, and the code of a refusal. Only the key and the length differ from one request to the next."""
    body = chat_body(text)
    fields = [place + key.encode(), b"Content-Length: %d" % len(body)]
    line.send(request(b"POST /openai/v1/chat/completions", *(fields[::-1] if behind else fields), body=body))
    answer = line.answer()
    return answer.status, answer.code


@pytest.mark.parametrize("behind", [False, True])
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_each_request_is_judged_by_its_own_key(router: Router, place: bytes, *, behind: bool) -> None:
    first_id, first = router.create_key(name="first")
    second_id, second = router.create_key(name="second")
    paused_id, paused = router.create_key(name="paused")
    router.edit(paused_id, paused=True)
    _, other = router.create_key(name="for another model", allowed_models=["gpt-4o"])
    unknown = keys.mint(keys.PROXY_TAG).raw
    damaged = first[:-1] + ("0" if first[-1] != "0" else "1")
    text = marker()
    refused: dict[str, tuple[int, str | None]] = {
        paused: (403, "key_paused"),
        other: (403, "model_not_allowed"),
        unknown: (401, "invalid_proxy_key"),
    }
    refused[damaged] = refused[unknown]
    with dial(router) as line:
        for key in (first, paused, second, other, first, unknown, second, damaged, second):
            assert ask(line, text, key, place, behind=behind) == refused.get(key, (200, None))
        router.edit(second_id, paused=True)
        assert ask(line, text, first, place, behind=behind) == (200, None)
        assert ask(line, text, second, place, behind=behind) == (403, "key_paused")
    assert seen(router, text) == 6
    eventually(lambda: [len(ledger_rows(router, key_id)) for key_id in (first_id, second_id)] == [3, 3])

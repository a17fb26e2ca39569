"""Tokens a minute of a key, over two real worker processes and every way to reach a provider."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from calls import about, chat, code, generate, messages
from harness import Router, eventually
from session_kit import REALTIME, RESPONSES, create, hear, opened, speak, turns

LIMIT = 10_000


def tokens(answer: requests.Response) -> tuple[str, ...]:
    return tuple(answer.headers[f"x-ratelimit-{name}-tokens"] for name in ("limit", "remaining"))


def used(router: Router, key: str) -> int:
    told = about(router, key)
    assert told["rate_limit_tpm"] == LIMIT
    return LIMIT - int(told["remaining_tokens"])


def test_it_works(router: Router) -> None:
    """Counted with the most that it may use, then with what it used: as the ledger has it."""
    key_id, key = router.create_key(name="tokens", rate_limit_tpm=LIMIT)
    answer = chat(router, key, max_tokens=500)
    assert answer.status_code == 200
    limit, remaining = tokens(answer)
    assert limit == str(LIMIT)
    assert LIMIT - 1_100 < int(remaining) < LIMIT - 500
    usage = answer.json()["usage"]
    spent = usage["prompt_tokens"] + usage["completion_tokens"]
    eventually(lambda: used(router, key) == spent, 10, "the true figure")
    assert router.key(key_id)["rate_limit_tpm"] == LIMIT
    dry = router.api("POST", f"/v1/keys/{key_id}/check", json={"model": "gpt-4o-mini", "max_tokens": LIMIT}).json()
    assert (dry["allowed"], dry["refusal"]["code"], dry["refusal"]["retry"]) == (False, "token_rate_limited", False)


def test_requests_at_once_hold_what_they_may_use(router: Router) -> None:
    """Each may use a quarter of the minute: four are admitted, over both workers, and the rest is told when."""
    _, key = router.create_key(name="four at once", rate_limit_tpm=LIMIT)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: chat(router, key, "sandbox:slow", max_tokens=2_000), range(12)))
    assert sum(answer.status_code == 200 for answer in answers) == 4
    refused = [answer for answer in answers if answer.status_code != 200]
    assert {(answer.status_code, code(answer)) for answer in refused} == {(429, "token_rate_limited")}
    for answer in refused:
        error = answer.json()["error"]
        assert 1 <= int(answer.headers["retry-after"]) == error["retry_after_seconds"] <= 61
        assert error["remaining_tokens"] < error["needed_tokens"] <= LIMIT
    assert chat(router, key, max_tokens=2_000).status_code == 200, "those that have ended used less"


@pytest.mark.parametrize("ask", [chat, messages, generate])
def test_every_dialect_is_told_what_would_fit(router: Router, ask: object) -> None:
    _, key = router.create_key(name="too large", rate_limit_tpm=500)
    answer = ask(router, key, "word " * 3_000)  # type: ignore[operator] # one of three
    assert (answer.status_code, code(answer)) == (429, "token_rate_limited")
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert "never admitted" in answer.text


@pytest.mark.parametrize("ask", [messages, generate])
def test_what_fits_in_truth_is_not_refused_for_its_bytes(router: Router, ask: object) -> None:
    """1,500 bytes are more tokens than the limit; the provider counts fewer."""
    _, key = router.create_key(name="counted", rate_limit_tpm=1_000)
    assert ask(router, key, "word " * 300).status_code == 200  # type: ignore[operator] # one of two


def test_a_client_without_an_output_limit_is_given_one(router: Router) -> None:
    _, key = router.create_key(name="no max_tokens", rate_limit_tpm=LIMIT)
    answer = chat(router, key, max_tokens=None)
    assert answer.status_code == 200
    assert answer.headers["x-router-max-tokens"] == "4096"
    translated = messages(router, key, model="gpt-4o-mini")
    assert translated.status_code == 200, translated.text
    assert tokens(translated)[0] == str(LIMIT)


def test_what_is_free_counts_nothing_and_what_cannot_be_bounded_is_refused(router: Router) -> None:
    _, key = router.create_key(name="whole API", rate_limit_tpm=LIMIT)
    headers = {"Authorization": f"Bearer {key}"}
    assert code(requests.get(f"{router.proxy_url}/v1/files", headers=headers, timeout=30)) is None
    assert used(router, key) == 0
    batch = requests.post(f"{router.proxy_url}/v1/batches", json={}, headers=headers, timeout=30)
    assert (batch.status_code, code(batch)) == (403, "endpoint_not_metered")
    later = {"model": "gpt-4o-mini", "input": "hello", "background": True}
    background = requests.post(f"{router.proxy_url}/v1/responses", json=later, headers=headers, timeout=30)
    assert (background.status_code, code(background)) == (403, "tokens_not_bounded")
    assert background.json()["error"]["unbounded"] == "background"


def test_an_edit_holds_for_the_next_request(router: Router) -> None:
    key_id, key = router.create_key(name="edited", rate_limit_tpm=LIMIT)
    for _ in range(4):
        router.edit(key_id, rate_limit_tpm=10)
        assert code(chat(router, key)) == "token_rate_limited"
        router.edit(key_id, rate_limit_tpm=None)
        answer = chat(router, key)
        assert answer.status_code == 200
        assert "x-ratelimit-limit-tokens" not in answer.headers


def test_turns_of_a_session_count_like_requests(router: Router) -> None:
    key_id, key = router.create_key(name="session", rate_limit_tpm=LIMIT)
    with opened(router, RESPONSES, key) as session:
        create(session, "hello", max_output_tokens=20)
        usage = hear(session, "response.completed")["response"]["usage"]
        eventually(lambda: used(router, key) == usage["total_tokens"], 10, "the true figure of the turn")
        create(session, "too much", max_output_tokens=LIMIT)
        error = hear(session, "error")["error"]
        assert (error["code"], error["affordable_max_tokens"] < LIMIT) == ("token_rate_limited", True)
        create(session, "later", max_output_tokens=20, background=True)
        assert hear(session, "error")["error"]["unbounded"] == "background"
        create(session, "small again", max_output_tokens=20)
        hear(session, "response.completed")
    assert len(turns(router, key_id, 2)) == 2


def test_voices_need_room_for_two_turns(router: Router) -> None:
    """The next one is held as soon as one has begun, and given back when the session ends."""
    key_id, key = router.create_key(name="voice", rate_limit_tpm=100_000)
    with opened(router, REALTIME, key) as session:
        hear(session, "session.created")
        speak(session)
        hear(session, "response.done")
        assert int(about(router, key)["remaining_tokens"]) < 90_000
    turns(router, key_id, 1)
    eventually(lambda: int(about(router, key)["remaining_tokens"]) > 95_000, 10, "what was held")
    _, small = router.create_key(name="no room", rate_limit_tpm=5_000)
    with opened(router, REALTIME, small) as session:
        speak(session)
        assert hear(session, "error")["error"]["code"] == "token_rate_limited"

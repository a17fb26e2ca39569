"""Coding tools on a key with a few dollars: what they send first passes, and holds what it can cost and no more."""

import threading
from collections.abc import Callable
from decimal import Decimal

import pytest
import requests
from answers_kit import ARGUMENTS, TOOL, answer
from calls import about, code, own_spend
from cli_requests import STARTS, TURNS, Call, claude_code, codex, gemini_cli, opencode, words
from harness import Router, eventually
from raw_http import Heard, Line, ScriptedProvider

COUNTERS = ("/count_tokens", "/input_tokens", ":countTokens")
MILLION = Decimal(1_000_000)
TOOLS_OVERHEAD = 4_096  # tokens that a provider may add for tools


def send(router: Router, call: Call) -> requests.Response:
    url, body = router.proxy_url + call.path, call.body or None
    return requests.request(call.method, url, data=body, headers=call.headers, timeout=30)


def asked(provider: ScriptedProvider) -> list[str]:
    """The paths that the provider was asked for, without the query."""
    return [heard.first.split(" ")[1].partition("?")[0] for heard in provider.heard]


@pytest.fixture
def tools(provider: ScriptedProvider) -> ScriptedProvider:
    provider.play(answer)
    return provider


@pytest.mark.parametrize("tool", STARTS)
def test_it_works(stage: Router, tools: ScriptedProvider, tool: str) -> None:
    """All of a session's first requests, one after the other, on one key with 5 dollars."""
    _, key = stage.create_key(name=tool, spend_limit_usd="5")
    for call in (*STARTS[tool](key), TURNS[tool](key)):
        response = send(stage, call)
        assert (response.status_code, code(response)) == (200, None), f"{call.path}: {response.text}"
    assert TOOL in response.text
    assert next(iter(ARGUMENTS.values())) in response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert Decimal(own_spend(stage, key)["spent_usd"]) > 0
    if tool != "Claude Code":  # which counts by itself, for free
        assert not [path for path in asked(tools) if path.endswith(COUNTERS)]


def bound_of(tool: str, call: Call, limit: int | None) -> Decimal:
    """By hand: a token for each byte, at the dearest price that it may have, and the output limit."""
    given, written = len(call.body) + TOOLS_OVERHEAD, limit or 0
    return {
        "Claude Code": given * Decimal("6.25") + 64_000 * Decimal(25),  # written to a cache for five minutes
        "Codex": given * Decimal("3.5") + written * Decimal(28),  # the tier is not pinned, so it may be `priority`
        "Gemini CLI": given * Decimal("1.25") + written * Decimal(10),
        "opencode": given * Decimal("3.5") + 32_000 * Decimal(28),
    }[tool] / MILLION


@pytest.mark.parametrize("tool", TURNS)
def test_a_turn_holds_the_bound_of_its_bytes_and_its_output_limit(
    stage: Router, provider: ScriptedProvider, tool: str
) -> None:
    go_on = threading.Event()

    def later(line: Line, heard: Heard) -> None:
        go_on.wait(20)
        answer(line, heard)

    provider.play(later)
    _, key = stage.create_key(name=tool, spend_limit_usd="5")
    call = TURNS[tool](key)
    found: list[requests.Response] = []
    thread = threading.Thread(target=lambda: found.append(send(stage, call)))
    thread.start()
    try:
        eventually(lambda: provider.heard != [], what="the turn")
        held = Decimal(about(stage, key)["spend"]["held_usd"])
    finally:
        go_on.set()
        thread.join()
    set_by_us = found[0].headers.get("x-router-max-tokens")
    assert held == bound_of(tool, call, None if set_by_us is None else int(set_by_us))


LONG = [
    ("Claude Code", lambda key: claude_code(key, max_tokens=32_000, system=words(60_000)), "/v1/messages/count_tokens"),
    ("Codex", lambda key: codex(key, instructions=words(330_000)), "/v1/responses/input_tokens"),
    (
        "Gemini CLI",
        lambda key: gemini_cli(key, systemInstruction={"parts": [{"text": words(600_000)}]}),
        "/v1beta/models/gemini-2.5-pro:countTokens",
    ),
]


@pytest.mark.parametrize(("tool", "turn", "counter"), LONG, ids=[tool for tool, _, _ in LONG])
def test_with_little_left_the_provider_counts_once_and_what_fits_is_admitted(
    stage: Router, tools: ScriptedProvider, tool: str, turn: Callable[[str], Call], counter: str
) -> None:
    _, rich = stage.create_key(name=f"{tool}, rich", spend_limit_usd="5")
    assert send(stage, turn(rich)).status_code == 200
    assert not [path for path in asked(tools) if path.endswith(COUNTERS)]  # on the common path nobody is asked
    tools.heard.clear()
    _, key = stage.create_key(name=tool, spend_limit_usd="1.20")
    call = turn(key)
    response = send(stage, call)
    assert (response.status_code, code(response)) == (200, None), response.text
    assert asked(tools) == [counter, call.path.partition("?")[0]]
    assert tools.heard[0].headers.get("anthropic-beta") == call.headers.get("anthropic-beta")
    assert send(stage, turn(key)).status_code == 200
    assert asked(tools).count(counter) == 1  # the answer is kept for a minute


def test_what_does_not_fit_in_truth_is_refused_and_told_what_would(stage: Router, tools: ScriptedProvider) -> None:
    _, key = stage.create_key(name="little", spend_limit_usd="1.20")
    response = send(stage, claude_code(key))  # 64,000 tokens of output alone are 1.60
    assert (response.status_code, code(response)) == (403, "spend_exceeded")
    assert tools.heard == []
    error = response.json()["error"]
    fits = error["affordable_max_tokens"]
    assert error["bound"]["output"]["tokens"] == 64_000
    assert 0 < fits < 64_000
    assert send(stage, claude_code(key, max_tokens=fits)).status_code == 200


def test_codex_may_search_on_five_dollars(stage: Router, tools: ScriptedProvider) -> None:
    _, key = stage.create_key(name="searches", spend_limit_usd="5")
    response = send(stage, codex(key, searches=True))
    assert (response.status_code, code(response)) == (200, None), response.text
    refused = send(stage, codex(key, tools=[{"type": "image_generation"}]))
    assert (refused.status_code, code(refused)) == (403, "model_not_priced")
    assert "image_generation" in refused.json()["error"]["message"]


def test_words_that_name_features_are_words(stage: Router, tools: ScriptedProvider) -> None:
    """Of two bodies as long as each other neither holds more for what its text is about."""
    _, poor = stage.create_key(name="words", spend_limit_usd="0.000001")
    text = 'compact "type":"compact_20260112" "cache_control" web_search "background": true '
    plain = opencode(poor, messages=[{"role": "user", "content": "x" * len(text)}])
    named = opencode(poor, messages=[{"role": "user", "content": text.replace('"', "'")}])
    needed = [send(stage, call).json()["error"]["needed_usd"] for call in (plain, named)]
    assert needed[0] == needed[1]
    assert tools.heard == []

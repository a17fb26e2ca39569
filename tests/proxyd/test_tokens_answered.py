"""Tokens a minute of a key, as apps see them: what an answer tells, what is refused, and what is counted at its end."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from accounting_kit import Router, Worker
from gateway_kit import CHAT, GOOD, REFUSED, Gate, Provider
from sqlalchemy import Engine

from proxyd.gateway.exchange import RequestFailed
from shared.counters import RateBucket
from shared.keys import NewKey
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]


@pytest.fixture
def limited(router: Router, worker: Worker, engine: Engine, sealer: Sealer, make_key: MakeKey) -> Iterator[Gate]:
    key_id, key = make_key(rate_limit_tpm=20_000)
    gate = Gate(router, worker, engine, sealer, key_id, key.raw)
    yield gate
    gate.pool.close()


def test_an_answer_tells_what_is_left(limited: Gate, provider: Provider) -> None:
    limited.open(provider.url)
    limited.store(GOOD)
    answer = limited.ask(CHAT | {"max_tokens": 500})
    assert answer.status == 200
    assert answer.headers["x-ratelimit-limit-tokens"] == "20000"
    left = int(answer.headers["x-ratelimit-remaining-tokens"])
    assert 18_000 < left < 19_500
    assert int(answer.headers["x-ratelimit-reset-tokens"]) > 1_700_000_000
    assert "x-router-max-tokens" not in answer.headers


@pytest.mark.parametrize("document", [CHAT, CHAT | {"stream": True}])
def test_an_end_is_told_before_the_last_byte_of_its_answer(
    limited: Gate, provider: Provider, document: dict[str, Any]
) -> None:
    """Its worker does nothing unasked. What is left of two requests one after the other is their true figures."""
    limited.open(provider.url)
    limited.store(GOOD)
    for times in (1, 2):
        assert limited.ask(document | {"max_tokens": 15_000}).status == 200
        assert 0 < counted_of(limited) < 100 * times


def test_so_is_that_of_an_answer_which_is_an_error_or_was_never_sent(limited: Gate, provider: Provider) -> None:
    limited.open(provider.url)
    limited.store(REFUSED)
    assert limited.ask().status >= 400
    assert counted_of(limited) == 0
    limited.open("http://127.0.0.1:1")  # nobody is there
    assert limited.ask().status == 502
    assert counted_of(limited) == 0


def test_after_a_fault_of_ours_the_bound_stands(
    limited: Gate, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it was sent: nobody read what it used, nor whether it was billed."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of ours")

    limited.open(provider.url)
    limited.store(GOOD)
    monkeypatch.setattr("proxyd.gateway.dispatch.limit_headers.limits", broken)
    with pytest.raises(RequestFailed):
        limited.ask(CHAT | {"max_tokens": 5_000})
    assert 5_000 < counted_of(limited) < 6_000
    (row,) = limited.rows()
    assert (row.outcome, row.flags, row.cost_nanos, row.sent_status) == ("unknown", ["estimated"], 0, 500)


def test_who_names_no_output_limit_is_given_one(limited: Gate, provider: Provider) -> None:
    limited.open(provider.url)
    limited.store(GOOD)
    answer = limited.ask({name: said for name, said in CHAT.items() if name != "max_tokens"})
    assert answer.headers["x-router-max-tokens"] == "4096"
    assert counted_of(limited) < 200, "the true figure stands there once it has ended"


def test_one_that_is_larger_than_the_limit_is_told_what_would_fit(limited: Gate, provider: Provider) -> None:
    limited.open(provider.url)
    limited.store(GOOD)
    answer = limited.ask(CHAT | {"max_tokens": 20_000})
    assert answer.status == 429
    assert (answer.headers["x-router-error"], answer.headers["x-should-retry"]) == ("token_rate_limited", "false")
    assert "retry-after" not in answer.headers
    error = answer.json["error"]
    assert error["affordable_max_tokens"] == 16_384, "the model's longest answer"
    assert limited.ask(CHAT | {"max_tokens": error["affordable_max_tokens"]}).status == 200


def test_one_that_fits_later_is_told_when(limited: Gate, provider: Provider) -> None:
    limited.open(provider.url)
    limited.store(GOOD)
    use_up(limited, leaving=100)
    answer = limited.ask(CHAT | {"max_tokens": 500})
    assert (answer.status, answer.headers["x-router-error"]) == (429, "token_rate_limited")
    assert 1 <= int(answer.headers["retry-after"]) <= 61
    assert "x-should-retry" not in answer.headers
    assert answer.headers["x-ratelimit-remaining-tokens"] == "100"


def use_up(gate: Gate, *, leaving: int) -> None:
    """By another worker, some seconds ago."""
    gate.ask()
    gate.worker.accounting.flush()
    left, observer = 20_000 - counted_of(gate) - leaving, gate.router.observer
    bucket = RateBucket(gate.key_id, observer.moment().second - 9, 1, "", left)
    observer.restore_requests(gate.router.database.generation(), [bucket])


def test_a_large_body_is_read_before_its_tokens_are_judged(limited: Gate, provider: Provider) -> None:
    """Only then is it known that it never fits, or that it needs none."""
    limited.open(provider.url)
    limited.store(GOOD)
    large = CHAT | {"messages": [{"role": "user", "content": "a" * 300_000}]}
    use_up(limited, leaving=0)
    answer = limited.ask(large)
    assert (answer.status, answer.headers["x-should-retry"]) == (429, "false")
    assert answer.json["error"]["needed_tokens"] > 300_000
    assert "retry-after" not in answer.headers
    picture = {"model": "dall-e-3", "prompt": "a" * 300_000}
    assert limited.ask(picture, path="/openai/v1/images/generations").status == 200


def counted_of(gate: Gate) -> int:
    gate.router.renew_observer()
    window = gate.router.observer.rows([gate.key_id])[gate.key_id].tokens
    return 0 if window is None else window.count(gate.router.observer.moment().second)


def test_a_key_without_the_limit_is_told_nothing_of_it(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(GOOD)
    answer = gate.ask()
    assert [name for name in answer.headers if "tokens" in name] == []
    assert gate.router.observer.rows([gate.key_id])[gate.key_id].tokens is None

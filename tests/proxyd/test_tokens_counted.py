"""Tokens a minute of a key: what journals tell of them, at the end of a request and after a death."""

from typing import Any

import pytest
from accounting_kit import Router, Worker, charge, telling
from ledger_kit import attempt, settlement

from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.journal_reader import read_tail
from proxyd.accounting.records import EndRecord, crashed, used_tokens
from shared.counters import Admitted, Batch, CountersUnavailable, Decision, TokenChange, TokenRateLimited

LIMIT = 1_000
HELD = attempt(held_tokens=600, second=70)


# How an attempt ends


@pytest.mark.parametrize(
    ("ended", "used"),
    [
        (settlement(usage={"input_tokens": 300, "output_tokens": 50, "cache_read_tokens": 200}), 350),
        (settlement(usage={"input_tokens": 9}, flags=("estimated",)), 9),
        (settlement(usage={"audio_seconds": 7}, flags=("estimated",)), 0),
        (settlement(usage={}, status=500, outcome="provider_error"), 0),
        (settlement(usage={}, flags=("estimated",)), 600),
        (crashed(HELD, 5), 600),
        (None, 0),
    ],
)
def test_what_it_has_used(ended: Any, used: int) -> None:
    """A sum of input and output. Where nobody knows, as after a crash, the most that it can be."""
    assert used_tokens(HELD, ended) == used
    told = EndRecord(1, 1, HELD, ended).for_counters().tokens
    assert told == (None if used == 600 else TokenChange(70, used - 600))


def test_of_a_key_without_the_limit_nothing_is_told() -> None:
    assert EndRecord(1, 1, attempt(), settlement()).for_counters().tokens is None


# In the accounting: its stories are told at random in `test_accounting_model`


def asked(worker: Worker, tokens: int) -> tuple[int, Decision]:
    one = charge(rate_limit_tpm=LIMIT, bound_tokens=tokens, spend_limit_nanos=None)
    return worker.admit(one, held_tokens=tokens)


def counted(router: Router) -> int:
    router.renew_observer()
    window = router.observer.rows(["key_1"])["key_1"].tokens
    return 0 if window is None else window.count(router.observer.moment().second)


@pytest.fixture
def two(router: Router) -> tuple[Worker, Worker]:
    workers = router.worker(), router.worker()
    router.rounds(2)
    return workers


def test_over_two_workers(router: Router, two: tuple[Worker, Worker]) -> None:
    a, b = two
    seq, first = asked(a, 700)
    assert isinstance(first, Admitted)
    assert first.tokens is not None
    assert first.tokens[:2] == (LIMIT, 300)
    assert isinstance(asked(b, 301)[1], TokenRateLimited)
    a.settle(seq, 5)
    a.accounting.flush()
    assert counted(router) == 8
    assert isinstance(asked(b, 992)[1], Admitted)


def test_an_end_that_another_worker_is_about_to_tell_is_waited_for(two: tuple[Worker, Worker]) -> None:
    """What a request has not used fits the next one, wherever that one comes in."""
    a, b = two
    seq, _ = asked(a, 700)
    a.settle(seq, 5)
    answers = telling(b, a.accounting.flush)
    assert isinstance(asked(b, 900)[1], Admitted)
    assert [type(answer) for (answer,) in answers] == [TokenRateLimited, Admitted]


def test_nobody_waits_for_what_is_in_flight_or_can_never_fit(two: tuple[Worker, Worker]) -> None:
    """But the one time that it takes to be told."""
    a, b = two
    asked(a, 700)
    answers = telling(b, lambda: None)
    assert isinstance(asked(b, 900)[1], TokenRateLimited)
    assert len(answers) == 2
    assert isinstance(asked(b, LIMIT + 1)[1], TokenRateLimited)
    assert len(answers) == 3


def test_what_was_never_sent_uses_none(router: Router, worker: Worker) -> None:
    seq, _ = asked(worker, 700)
    worker.accounting.void(seq)
    worker.accounting.flush()
    assert counted(router) == 0


def test_what_was_counted_and_never_begun_is_given_back(
    router: Router, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its journal could not be written, or the answer of the counters was lost."""

    def full(*_: object) -> None:
        raise JournalUnavailable("full")

    real = worker.counters.apply_batch

    def lost(batch: Batch) -> list[Decision]:
        real(batch)
        raise CountersUnavailable("cut", in_doubt=True)

    asked(worker, 5)
    with monkeypatch.context() as broken:
        broken.setattr(worker.membership.journal, "begin", full)
        with pytest.raises(JournalUnavailable):
            asked(worker, 700)
    with monkeypatch.context() as broken:
        broken.setattr(worker.counters, "apply_batch", lost)
        with pytest.raises(CountersUnavailable):
            asked(worker, 900)
    router.rest(worker)
    assert counted(router) == 5


def test_a_dead_workers_requests_weigh_what_its_journal_tells(router: Router, two: tuple[Worker, Worker]) -> None:
    a, b = two
    seq, _ = asked(a, 400)
    asked(a, 500)
    a.settle(seq, 5)
    a.kill()
    router.rounds(3)
    assert counted(router) == 8 + 500
    assert isinstance(asked(b, 493)[1], TokenRateLimited)


def test_lost_counters_are_told_of_the_last_minute(router: Router, two: tuple[Worker, Worker]) -> None:
    """By the living from memory, of the dead by their journals; and none twice."""
    a, b = two
    ended, _ = asked(a, 200)
    asked(a, 100)
    dead, _ = asked(b, 300)
    a.settle(ended, 5)
    b.settle(dead, 5)
    asked(b, 50)
    b.kill()
    router.lose_counters()
    router.rest(a)
    assert counted(router) == 8 + 100 + 8 + 50
    router.lose_counters()
    router.rest(a)
    assert counted(router) == 8 + 100 + 8 + 50, "also of a journal that is closed"
    router.clock.forward(61)
    router.lose_counters()
    router.rest(a)
    assert counted(router) == 0


def test_what_ends_when_its_minute_is_over_is_no_matter(router: Router, worker: Worker) -> None:
    seq, _ = asked(worker, 900)
    router.clock.forward(62)
    worker.keep()
    other, _ = asked(worker, 900)
    worker.settle(seq, 5)
    router.lose_counters()
    router.rest(worker)
    assert counted(router) == 900
    worker.settle(other, 5)
    router.rest(worker)
    assert counted(router) == 8


def test_a_journal_tells_what_was_used_in_the_place_of_what_could_be(router: Router, worker: Worker) -> None:
    seq, _ = asked(worker, 900)
    asked(worker, 40)
    worker.settle(seq, 5)
    tail = read_tail(router.directory / "journals", worker.id, 2**63, 0)
    assert [one.held_tokens for one in tail.begun.values()] == [8, 40]

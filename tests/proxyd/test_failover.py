"""Several credentials of a provider: the next one is tried where nothing was billed, and the money stays true."""

import itertools
from collections.abc import Iterable

import gevent
import gevent.event
import pytest
from gateway_kit import BUSY, CHAT, GOOD, LIMITED, OTHER, REFUSED, SILENT, App, Gate, Provider, tries_of

from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import Attempt
from proxyd.gateway.failover import MOST_TRIES
from proxyd.messages import ClientGone

FAULTY = {**CHAT, "messages": [{"role": "user", "content": "sandbox:500 hello"}]}


@pytest.mark.parametrize(("failing", "why"), [(LIMITED, "rate_limited"), (REFUSED, "refused"), (BUSY, "unavailable")])
def test_it_works(gate: Gate, provider: Provider, failing: str, why: str) -> None:
    gate.open(provider.url)
    gate.store(failing)
    gate.store(GOOD, "second", priority=2)
    answer = gate.ask()
    assert answer.status == 200, answer.body
    assert answer.headers["x-router-attempts"] == "2"
    assert [ending for ending, _ in provider.seen] == [failing[-4:], GOOD[-4:]]
    served, dropped = gate.rows()
    assert dropped.id == f"{served.id}-1"
    assert (dropped.outcome, dropped.cost_nanos, dropped.sent_status) == ("provider_error", 0, None)
    assert (dropped.status, dropped.flags) == (provider.seen[0][1], ["retried"])
    assert dropped.provider_request_id
    assert tries_of(dropped.tried) == [("default", why)]
    assert (served.outcome, served.status) == ("ok", 200)
    assert tries_of(served.tried) == [("default", why), ("second", None)]
    assert served.cost_nanos == provider.total_nanos > 0
    assert gate.router.spent(gate.key_id) == (provider.total_nanos, 0)
    # It rests now, so the next request does not ask it.
    assert "x-router-attempts" not in gate.ask().headers
    assert [ending for ending, _ in provider.seen[2:]] == [GOOD[-4:]]


def test_one_credential_alone_is_asked_once_and_leaves_no_trace(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    answer = gate.ask()
    assert answer.status == 429
    assert "x-router-attempts" not in answer.headers
    assert [(row.outcome, row.tried, row.flags) for row in gate.rows()] == [("provider_error", None, [])]
    assert gate.health.resting == {}


def test_of_all_the_last_answer_is_passed_on_as_it_came(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    for number in range(MOST_TRIES + 1):
        gate.store(f"sandbox-answers-429-credential-000{number}", "default" if not number else f"number {number}")
    answer = gate.ask()
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert len(provider.seen) == MOST_TRIES
    # The sandbox says in its error with which one it was asked.
    assert b"[provider credential]" in answer.body
    assert b"sandbox-answers" not in answer.body
    first, *dropped = gate.rows()
    assert [row.id for row in dropped] == [f"{first.id}-1", f"{first.id}-2"]
    assert [why for _, why in tries_of(first.tried)] == ["rate_limited", "rate_limited", None]
    assert (first.sent_status, first.flags) == (429, [])
    assert gate.router.spent(gate.key_id) == (0, 0)
    # All that were asked rest; one is left, and then the one whose rest is over first.
    assert gate.ask().status == 429
    assert len(provider.seen) == MOST_TRIES + 1
    assert gate.ask().status == 429
    assert len(provider.seen) == MOST_TRIES + 2


def test_what_may_have_been_billed_is_not_repeated(gate: Gate, provider: Provider) -> None:
    """The sandbox hangs up once it has read the request; and it answers 500."""
    gate.open(provider.url)
    gate.store(SILENT)
    gate.store(GOOD, "second", priority=2)
    assert gate.ask().status == 502
    assert gate.ask(FAULTY).status == 502
    assert [ending for ending, _ in provider.seen] == [SILENT[-4:]] * 2
    gate.store(OTHER)
    assert gate.ask(FAULTY).status == 500
    assert len(provider.seen) == 3
    assert [row.outcome for row in gate.rows()] == ["unknown", "unknown", "provider_error"]


def test_a_body_that_was_streamed_cannot_be_sent_twice(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store(GOOD, "second", priority=2)
    form = (
        b'--x\r\ncontent-disposition: form-data; name="file"; filename="a"\r\n\r\n' + b"a" * 200_000 + b"\r\n--x--\r\n"
    )
    free = {"path": "/openai/v1/files", "kind": b"multipart/form-data; boundary=x"}
    assert gate.ask(body=form, **free).status == 429  # type: ignore[arg-type] # named as they are
    assert [ending for ending, _ in provider.seen] == [LIMITED[-4:]]
    assert len(gate.rows()) == 1


def test_a_large_body_is_kept_until_it_is_not_needed_any_more(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(BUSY)
    gate.store(GOOD, "second", priority=2)
    long = {**CHAT, "messages": [{"role": "user", "content": "word " * 80_000}]}
    assert gate.ask(long).status == 200
    first, second = provider.service.invoice.attempts
    assert first.body_sha256 == second.body_sha256
    assert gate.rows()[0].cost_nanos == provider.total_nanos
    assert gate.router.spent(gate.key_id) == (provider.total_nanos, 0)
    assert gate.memory.held_bytes == 0


def test_a_client_that_leaves_between_two_tries(gate: Gate, provider: Provider) -> None:
    """It leaves when the first credential has been refused: the second one is never asked."""
    gate.open(provider.url)
    gate.store(REFUSED)
    gate.store(GOOD, "second", priority=2)
    app = App()
    gate.on_told = app.leave
    with pytest.raises(ClientGone):
        gate.ask(app=app)
    assert [ending for ending, _ in provider.seen] == [REFUSED[-4:]]
    (dropped,) = gate.rows()
    assert dropped.id.endswith("-1")
    assert gate.router.spent(gate.key_id) == (0, 0)


def test_a_worker_that_dies_between_two_tries(gate: Gate, provider: Provider) -> None:
    """What it had not sent yet is charged as after any crash; what was not billed is a row already."""
    gate.open(provider.url)
    gate.store(REFUSED)
    gate.store(GOOD, "second", priority=2)

    def die() -> None:
        raise gevent.GreenletExit

    gate.on_told = die
    with pytest.raises(gevent.GreenletExit):
        gate.ask()
    gate.worker.kill()
    gate.router.rest()
    crashed, dropped = gate.router.ledger_rows()
    assert (crashed[0], dropped) == ("crash", ("provider_error", 0))
    assert gate.router.spent(gate.key_id) == (crashed[1], 0)


def test_where_nothing_can_be_written_nothing_more_is_sent(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store(GOOD, "second", priority=2)
    journal = gate.worker.membership.journal
    assert journal is not None
    begin, written = journal.begin, itertools.count()

    def full(attempts: Iterable[tuple[int, Attempt]]) -> None:
        if next(written):
            raise JournalUnavailable("no space")
        begin(attempts)

    journal.begin = full  # type: ignore[method-assign] # a disk that fills up
    assert gate.ask().status == 429
    assert len(provider.seen) == 1
    assert [(row.outcome, tries_of(row.tried)) for row in gate.rows()] == [("provider_error", [("default", None)])]


def test_a_websocket_is_opened_with_the_next_one(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store(GOOD, "second", priority=2)
    response = gate.handshake("/v1/realtime", "model=gpt-realtime")
    assert response.status == 101
    assert response.takeover is not None
    response.takeover.abandon()
    session, dropped = gate.rows()
    assert dropped.id == f"{session.id}-1"
    assert tries_of(dropped.tried) == [("default", "rate_limited")]
    assert tries_of(session.tried) == [("default", "rate_limited"), ("second", None)]
    gate.store(REFUSED, "second", priority=2)
    gate.at += 60
    # Who may come again later is told so, and not that the second one is refused.
    assert gate.handshake("/v1/realtime", "model=gpt-realtime").status == 429
    assert [label for label, _ in gate.told] == ["second"]


def test_shares_follow_weights_and_what_is_kept_for_an_account_follows_the_order(
    gate: Gate, provider: Provider
) -> None:
    gate.open(provider.url)
    gate.store(GOOD, weight=1)
    gate.store(OTHER, "second", weight=3)
    for _ in range(8):
        assert gate.ask().status == 200
    endings = [ending for ending, _ in provider.seen]
    assert (endings.count(GOOD[-4:]), endings.count(OTHER[-4:])) == (2, 6)
    assert (
        sorted(label or "" for row in gate.rows() for label, _ in tries_of(row.tried))
        == ["default"] * 2 + ["second"] * 6
    )
    kept = {"model": "gpt-4o-mini", "max_output_tokens": 16, "input": "hello"}
    for store, wanted in ((None, {GOOD[-4:]}), (False, {GOOD[-4:], OTHER[-4:]})):
        before = len(provider.seen)
        for _ in range(4):
            assert gate.ask(kept if store is None else {**kept, "store": store}, path="/v1/responses").status == 200
        assert {ending for ending, _ in provider.seen[before:]} == wanted


def test_a_refused_credential_is_told_of_once_and_tried_again_later(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store("sandbox-answers-401-1of2-credential-0004")
    gate.store(GOOD, "second", priority=2)
    for _ in range(3):
        assert gate.ask().status == 200
    assert [(label, told.status if told else None) for label, told in gate.told] == [("default", 401)]
    gate.at += 3600
    assert gate.ask().status == 200
    assert provider.seen[-1][0] == "0004"
    assert gate.told[1:] == [("default", None)]
    assert gate.health.resting == {}


def test_load_with_failing_credentials_costs_what_the_provider_bills(gate: Gate, provider: Provider) -> None:
    """Streams and whole answers, forty at once: no money is lost, none counted twice, none stays held."""
    gate.open(provider.url)
    gate.store("sandbox-answers-429-1of2-credential-0005")
    gate.store("sandbox-answers-503-1of3-credential-0006", "second")
    gate.store(GOOD, "third")
    gate.health.told_to_wait = lambda *_: None  # type: ignore[method-assign] # so that all go on failing
    asked = [gevent.spawn(gate.ask, {**CHAT, "stream": bool(number % 2)}) for number in range(40)]
    gevent.joinall(asked, timeout=30, raise_error=True)
    statuses = [one.get().status for one in asked]
    rows = gate.rows()
    assert len(rows) == len(provider.seen) > 40
    assert sorted(row.status or 0 for row in rows) == sorted(status for _, status in provider.seen)
    assert statuses.count(200) == len([row for row in rows if row.outcome == "ok"])
    assert sum(row.cost_nanos for row in rows) == provider.total_nanos
    assert gate.router.spent(gate.key_id) == (provider.total_nanos, 0)

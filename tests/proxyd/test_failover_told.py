"""What an app is told, and what is put aside, where its own request or a backup is at fault; and who asks for a job."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from gateway_kit import CHAT, GOOD, LIMITED, OTHER, REFUSED, Gate, Provider, Reply, Serve, tries_of
from gevent.server import StreamServer
from sqlalchemy import Engine, event

from proxyd.messages import Outgoing, origin_of
from proxyd.upstream.pool import Call, UpstreamPool
from shared.keys import NewKey

ORGANIZATION = ((b"openai-organization", b"org-of-somebody"),)
MISMATCH = json.dumps({"error": {"code": "mismatched_organization", "message": "It should match."}}).encode()


@contextmanager
def statements(engine: Engine, wanted: str) -> Iterator[list[str]]:
    """Those with this text in them, as they are executed."""
    found: list[str] = []

    def note(*told: Any) -> None:
        found.extend(text for text in told[2:3] if wanted in text)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_it_works(gate: Gate, serve: Serve) -> None:
    """An app that names a foreign organisation is refused by all, and puts none of them aside."""
    asked: list[str] = []

    def answer(secret: str, asked_for: str) -> Reply:
        del asked_for
        asked.append(secret)
        return "401 No", [], MISMATCH

    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    for _ in range(2):
        answered = gate.ask(more=ORGANIZATION)
        assert (answered.status, answered.json["error"]["code"]) == (401, "mismatched_organization")
    assert asked == [GOOD, OTHER] * 2
    assert gate.health.resting == {}
    assert gate.told == []


def test_one_alone_is_not_put_aside_by_an_app_either(gate: Gate, serve: Serve) -> None:
    serve(lambda secret, asked_for: ("401 No", [], MISMATCH))
    gate.store(GOOD)
    assert gate.ask().status == 401
    assert (gate.health.resting, gate.told) == ({}, [])


def test_who_has_to_wait_is_told_so_although_the_backup_is_refused(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store(REFUSED, "backup", priority=2)
    answer = gate.ask()
    assert (answer.status, answer.headers["retry-after"], answer.headers["x-router-attempts"]) == (429, "1", "2")
    assert "was told to be answered with 429" in answer.json["error"]["message"]
    assert b"sandbox-answers" not in answer.body
    last, dropped = gate.rows()
    assert (last.status, last.sent_status, last.outcome, last.cost_nanos) == (401, 429, "provider_error", 0)
    assert tries_of(last.tried) == [("default", "rate_limited"), ("backup", None)]
    assert (dropped.status, dropped.provider_request_id == last.provider_request_id) == (429, False)
    assert [label for label, _ in gate.told] == ["backup"], "which is shown all the same"
    assert gate.router.spent(gate.key_id) == (0, 0)


def test_likewise_in_the_dialect_of_who_asks(gate: Gate, provider: Provider) -> None:
    gate.open(provider.url)
    gate.store(LIMITED)
    gate.store(REFUSED, "backup", priority=2)
    answer = gate.ask(CHAT, path="/v1/messages")
    assert (answer.status, answer.json["type"], answer.json["error"]["type"]) == (429, "error", "rate_limit_error")
    assert answer.headers["retry-after"] == "1"


class Gap(UpstreamPool):
    """Nobody listens where the call of this number goes."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._left = number
        nobody = StreamServer(("127.0.0.1", 0), lambda *_: None)
        nobody.init_socket()
        self._closed = origin_of(f"http://127.0.0.1:{nobody.server_port}")[0]
        nobody.stop()

    def call(self, outgoing: Outgoing) -> Call:
        self._left -= 1
        if not self._left:
            self._open, outgoing.origin = outgoing.origin, self._closed
        elif outgoing.origin == self._closed:  # as the one before, of which this is made
            outgoing.origin = self._open
        return super().call(outgoing)


def test_likewise_where_the_backup_cannot_be_reached(gate: Gate, provider: Provider) -> None:
    """Nothing was sent with it, so there is no row but that of the first."""
    gate.open(provider.url, Gap(2))
    gate.store(LIMITED)
    gate.store(GOOD, "backup", priority=2)
    answer = gate.ask()
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    (dropped,) = gate.rows()
    assert (dropped.status, dropped.id.endswith("-1")) == (429, True)
    assert gate.router.spent(gate.key_id) == (0, 0)


def test_an_answer_whose_body_stays_away_is_told_in_our_words(gate: Gate, serve: Serve) -> None:
    def answer(secret: str, asked_for: str) -> Reply:
        del asked_for
        if secret == OTHER:
            return "401 No", [], b"{}"
        return "503 Busy", [("retry-after", "7")], b""

    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "backup", priority=2)
    answered = gate.ask()
    assert (answered.status, answered.headers["retry-after"]) == (503, "7")
    assert "takes no more requests" in answered.json["error"]["message"]


def test_a_limit_of_one_model_is_none_of_another(gate: Gate, serve: Serve) -> None:
    asked: list[str] = []

    def answer(secret: str, asked_for: str) -> Reply:
        del asked_for
        asked.append(secret)
        return "429 Wait", [("retry-after", "30")], b'{"error":{"message":"wait"}}'

    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    assert gate.ask().status == 429
    assert gate.ask({**CHAT, "model": "gpt-4o"}).status == 429
    assert asked == [GOOD, OTHER] * 2
    gate.ask()
    assert len(asked) == 5, "both rest for that one"


def test_a_large_body_is_not_kept_for_another_try(
    gate: Gate, provider: Provider, make_key: Callable[..., tuple[str, NewKey]]
) -> None:
    """Its memory is free as soon as it was sent, which others wait for. Where nothing was sent it is still there."""
    gate.key = make_key()[1].raw
    large = {**CHAT, "messages": [{"role": "user", "content": "x" * 1_100_000}]}
    for first, seen, status in ((LIMITED, [LIMITED[-4:]], 429), (GOOD, [LIMITED[-4:], OTHER[-4:]], 200)):
        gate.open(provider.url, Gap(0 if first == LIMITED else 1))
        gate.store(first)
        gate.store(OTHER, "second", priority=2)
        assert gate.ask(large).status == status
        assert [ending for ending, _ in provider.seen] == seen
        assert gate.memory.held_bytes == 0
        gate.pool.close()
    bodies = {attempt.body_sha256 for attempt in provider.service.invoice.attempts}
    assert len(bodies) == 1, "the whole of it"


def test_files_are_asked_for_where_they_are_kept(
    gate: Gate, provider: Provider, make_key: Callable[..., tuple[str, NewKey]]
) -> None:
    gate.key = make_key()[1].raw
    gate.open(provider.url)
    gate.store(GOOD)
    gate.store(OTHER, "second", weight=100)
    part = {"type": "file", "file": {"file_id": "file-1"}}
    asks = {**CHAT, "messages": [{"role": "user", "content": [part]}]}
    padded = {**CHAT, "messages": [{"role": "user", "content": [part, {"type": "text", "text": "x" * 1_100_000}]}]}
    for document in (asks, padded, {**CHAT, "model": "ft:gpt-4o-mini-2024-07-18:acme::abc"}):
        gate.ask(document)
    assert {ending for ending, _ in provider.seen} == {GOOD[-4:]}
    gate.ask()
    assert provider.seen[-1][0] == OTHER[-4:]


def test_a_batch_is_asked_for_by_whose_credential_it_was_begun_with(
    gate: Gate, serve: Serve, make_key: Callable[..., tuple[str, NewKey]]
) -> None:
    """The first one had to wait when it was made; afterwards it is asked first for everything else."""
    asked: list[tuple[str, str]] = []
    waits = True

    def answer(secret: str, asked_for: str) -> Reply:
        asked.append((secret, asked_for))
        if secret == GOOD and waits:
            return "429 Wait", [("retry-after", "1")], b"{}"
        if secret == GOOD:
            return "404 Not Found", [], b'{"error":{"message":"No batch found"}}'
        results = ', "output_file_id": "file-9"' if asked_for.startswith("GET") else ""
        line = '{"id": "batch_1", "object": "batch", "endpoint": "/v1/chat/completions"%s}'
        return "200 OK", [], (line % results).encode()

    gate.key = make_key()[1].raw
    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    begun = gate.ask({"input_file_id": "file-1", "endpoint": "/v1/chat/completions"}, path="/openai/v1/batches")
    assert begun.status == 200, begun.body
    waits = False
    gate.at += 60
    assert gate.ask(path="/openai/v1/batches/batch_1", method="GET").status == 200
    with statements(gate.engine, "FROM provider_jobs") as looked_up:
        assert gate.ask(path="/openai/v1/files/file-9/content", method="GET").status == 200
    assert len(looked_up) == 1  # for its credential, which says whose the results are as well
    assert gate.ask(path="/openai/v1/batches/batch_2", method="GET").status == 404
    assert [secret for secret, _ in asked[1:]] == [OTHER, OTHER, OTHER, GOOD]
    gate.store(OTHER, "second", priority=2, enabled=False)
    assert gate.ask(path="/openai/v1/batches/batch_1", method="GET").status == 404


def test_a_secret_in_a_providers_request_id_reaches_neither_ledger_nor_app(gate: Gate, serve: Serve) -> None:
    def answer(secret: str, asked_for: str) -> Reply:
        del asked_for
        status = "429 Wait" if secret == GOOD else "400 Bad"
        return status, [("x-request-id", f"{'a' * 110}{secret}")], b'{"error":{"message":"no"}}'

    serve(answer)
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    answered = gate.ask()
    told = [*(row.provider_request_id or "" for row in gate.rows()), answered.headers["x-request-id"]]
    assert len(told) == 3
    assert all(one.startswith("a" * 110) and "sandbox" not in one for one in told), told

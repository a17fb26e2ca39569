"""Further credentials before providers that are slow, tell too much, or were not there a moment ago."""

import json

import gevent
import gevent.event
from gateway_kit import GOOD, OTHER, Gate, Provider, Reply, scripted, tries_of
from gevent.server import StreamServer

from proxyd.messages import Outgoing, origin_of
from proxyd.upstream.pool import Call, UpstreamLimits, UpstreamPool


def test_no_try_begins_after_the_deadline(gate: Gate) -> None:
    """The first answer has taken as long as any may; in the second case nearly, and the second comes too late."""
    asked: list[str] = []
    waits = gevent.event.Event()

    def answer(secret: str, asked_for: str) -> Reply:
        assert asked_for == "POST /v1/chat/completions"
        asked.append(secret)
        if secret == OTHER:
            waits.wait(20)
        gate.mono_at += slow
        return "503 Busy", [], b'{"error":{"message":"busy"}}'

    server = scripted(answer)
    gate.open(f"http://127.0.0.1:{server.server_port}", UpstreamPool(UpstreamLimits(first_byte_seconds=8.0)))
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    slow = 8.0
    assert gate.ask().status == 503
    assert asked == [GOOD]
    gate.at, slow = gate.at + 60, 7.999
    assert gate.ask().status == 504
    assert asked == [GOOD, GOOD, OTHER]
    waits.set()
    server.stop()
    rows = gate.rows()
    assert [row.outcome for row in rows] == ["provider_error", "unknown", "provider_error"]
    assert gate.router.spent(gate.key_id) == (0, 0)


def test_every_credential_that_was_tried_is_masked(gate: Gate) -> None:
    """A gateway that logs by connection may tell of an earlier one; one of them is the beginning of the other."""
    longer = f"{GOOD}-and-more"
    headers = [("x-echo", f"{GOOD} {longer}")]

    def answer(secret: str, asked_for: str) -> Reply:
        assert asked_for == "POST /v1/chat/completions"
        if secret == GOOD:
            return "401 No", headers, json.dumps({"error": {"message": f"no {GOOD} here"}}).encode()
        return "400 Bad", headers, f"{GOOD}, then {longer}".encode()

    server = scripted(answer)
    gate.open(f"http://127.0.0.1:{server.server_port}")
    gate.store(GOOD)
    gate.store(longer, "second", priority=2)
    answered = gate.ask()
    assert answered.status == 400
    assert answered.body == b"[provider credential], then [provider credential]"
    assert answered.headers["x-echo"] == "[provider credential] [provider credential]"
    ((label, told),) = gate.told
    assert (label, told.status if told else None) == ("default", 401)
    assert told is not None
    assert GOOD not in told.words
    assert told.words.startswith("no ")
    server.stop()


def test_a_provider_that_comes_back_between_two_tries(gate: Gate, provider: Provider) -> None:
    """Where no connection came about nothing was sent, so nothing of it stands in the ledger but why."""

    class Pool(UpstreamPool):
        """Its provider listens from the second call on."""

        calls = 0

        def call(self, outgoing: Outgoing) -> Call:
            self.calls += 1
            if self.calls == 2:
                outgoing.origin = origin_of(provider.url)[0]
            return super().call(outgoing)

    with_nobody = StreamServer(("127.0.0.1", 0), lambda *_: None)
    with_nobody.init_socket()
    port = with_nobody.server_port
    with_nobody.stop()
    gate.open(f"http://127.0.0.1:{port}", Pool())
    gate.store(GOOD)
    gate.store(OTHER, "second", priority=2)
    assert gate.ask().status == 200
    (row,) = gate.rows()
    assert tries_of(row.tried) == [("default", "unreachable"), ("second", None)]
    gate.pool.calls = 10  # type: ignore[attr-defined] # it is ours
    answer = gate.ask()
    assert answer.status == 502
    assert answer.headers["x-router-error"] == "provider_unreachable"
    assert len(gate.rows()) == 1
    assert gate.router.spent(gate.key_id) == (row.cost_nanos, 0)

"""Which number of the metrics a request is counted in: admitted, refused, failed at the provider, or nothing at all."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from accounting_kit import Router, Worker
from gateway_kit import App, Gate
from metrics_kit import World
from socket_kit import OK, Peer, scripted
from sqlalchemy import Engine
from talk_kit import MakeKey, opener

from proxyd.accounting import accounting
from proxyd.messages import ClientGone, Origin
from proxyd.monitoring.page import WorkerPage
from proxyd.monitoring.worker_monitor import FOLDER
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from shared.keys import NewKey
from shared.sealing import Sealer

SILENT_SECONDS = 0.05  # a provider that says nothing is waited for so long


class Stage:
    """A gateway whose requests are counted, to a provider that a test plays."""

    def __init__(self, router: Router, engine: Engine, sealer: Sealer, directory: Path) -> None:
        self.directory = directory
        self.page = WorkerPage(directory / FOLDER)
        self.worker = Worker(router, on_batch=self.page.count_batch)
        router.workers.append(self.worker)
        router.rounds()
        self.gate = Gate(router, self.worker, engine, sealer, "", "", page=self.page)
        self.pool = UpstreamPool(UpstreamLimits(first_byte_seconds=SILENT_SECONDS))
        self.plays(nobody_there())

    def plays(self, origin: Origin) -> None:
        """The provider is there from now on."""
        self.gate.open(f"http://{origin.host}:{origin.port}", self.pool)

    def ask(self, secret: NewKey, *, gone: bool = False) -> str:
        """The router's own code of its answer, or the status of the provider's."""
        self.gate.key = secret.raw
        answer = self.gate.ask(path="/openai/v1/files", method="GET", app=App(gone=gone))
        return answer.headers.get("x-router-error", str(answer.status))

    def noted(self) -> bool:
        """Whether anything is left for whoever looks after a key."""
        self.gate.refusals.hand_over()
        return any((self.gate.router.directory / "refusals").glob("*.json"))

    def counted(self) -> dict[str, float]:
        """What is counted of requests as they go, without what is still nothing."""
        self.page.write(rate_limits_skipped=self.gate.admission.rate_limits_skipped)
        shown = World(self.directory).shown()
        of_requests = ("router_admitted", "router_refused", "router_provider_failures", "router_rate_limits_skipped")
        return {name: value for name, value in shown.items() if value and name.startswith(of_requests)}


@pytest.fixture
def stage(router: Router, engine: Engine, sealer: Sealer, tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(router, engine, sealer, tmp_path)
    yield stage
    stage.pool.close()


def answers(peer: Peer) -> None:
    while True:
        peer.read_request()
        peer.send(OK)


def listens(peer: Peer) -> None:
    peer.read_to(b"a word that is never said")


def nobody_there() -> Origin:
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    return Origin("http", "127.0.0.1", port, f"127.0.0.1:{port}")


def test_it_works(stage: Stage, make_key: MakeKey) -> None:
    (_, secret), (_, paused) = make_key(), make_key(paused=True)
    with scripted(answers) as upstream:
        stage.plays(upstream.origin)
        assert [stage.ask(secret), stage.ask(paused), stage.ask(secret)] == ["200", "key_paused", "200"]
    assert stage.counted() == {
        "router_admitted_requests_total": 2, "router_refused_requests_total{reason=key_paused}": 1,
    }  # fmt: skip


def test_what_is_admitted_without_the_counters_is_counted(
    stage: Stage, router: Router, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accounting, "POLL_SECONDS", 0.0)
    (_, free), (_, limited) = make_key(), make_key(rate_limit_rpm=5)
    router.lose_counters()
    with scripted(answers) as upstream:
        stage.plays(upstream.origin)
        assert [stage.ask(free), stage.ask(limited)] == ["200", "200"]
        told = {"router_admitted_requests_total": 2.0, "router_rate_limits_skipped_total": 1.0}
        assert stage.counted() == told
        _, elsewhere = make_key(
            model_limits=[{"model": "claude-*", "spend_limit_nanos": 9, "spend_reset": "never", "since": 0}]
        )
        assert stage.ask(elsewhere) == "200"
        told["router_admitted_requests_total"] += 1  # nothing of it was skipped: no limit of its key is for its model
        assert stage.counted() == told
        # Nor can it be written down: then nobody is let through, with or without the counters.
        for path in (router.directory / "journals").iterdir():
            path.unlink()
        assert [stage.ask(free), stage.ask(limited)] == ["limits_unavailable"] * 2
        assert stage.counted() == {**told, "router_refused_requests_total{reason=limits_unavailable}": 2}


def test_a_provider_that_fails_is_no_refusal(stage: Stage, make_key: MakeKey) -> None:
    _, secret = make_key()
    stage.plays(nobody_there())
    assert stage.ask(secret) == "provider_unreachable"
    with scripted(listens) as upstream:
        stage.plays(upstream.origin)
        assert stage.ask(secret) == "provider_timeout"
    assert stage.counted() == {
        "router_admitted_requests_total": 2,
        "router_provider_failures_total{provider=openai,reason=provider_timeout}": 1,
        "router_provider_failures_total{provider=openai,reason=provider_unreachable}": 1,
    }
    assert stage.noted()


def test_a_client_that_left_is_no_failure_of_a_provider(stage: Stage, make_key: MakeKey) -> None:
    _, secret = make_key()
    with scripted(listens) as upstream:
        stage.plays(upstream.origin)
        with pytest.raises(ClientGone):
            stage.ask(secret, gone=True)
    assert stage.counted() == {"router_admitted_requests_total": 1}
    assert not stage.noted()


def test_a_websocket_and_the_turns_in_it_are_admitted(
    stage: Stage, router: Router, engine: Engine, sealer: Sealer, make_key: MakeKey
) -> None:
    talk = opener(router, engine, sealer, stage.worker, make_key, on_unheld=stage.page.count_unheld)()
    assert stage.counted() == {"router_admitted_requests_total": 1}
    assert talk.says(type="response.create").turn is not None
    assert stage.counted() == {"router_admitted_requests_total": 2}
    # What the provider tells that it did besides is billed, and nobody was asked to admit it.
    usage = {"type": "tokens", "input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    talk.hears(type="conversation.item.input_audio_transcription.completed", transcript="yes", usage=usage)
    assert stage.counted() == {"router_admitted_requests_total": 2}

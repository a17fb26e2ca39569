"""A fault of ours: whoever looks after the key finds it, under the id that the client is told."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from accounting_kit import Router, Worker
from request_kit import Untouched
from sqlalchemy import Engine
from talk_kit import MakeKey

from proxyd.accounting.refusal_log import RefusalLog
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.exchange import Gateway, RequestFailed
from proxyd.gateway.limits import Limits
from proxyd.key_cache import KeyCache
from proxyd.messages import ClientGone, Request
from shared.sealing import Sealer


class Broken:
    """Stands where bodies are read, and fails."""

    def __init__(self) -> None:
        self.error: Exception = ZeroDivisionError("of ours")

    def read(self, *_: Any) -> None:
        raise self.error


class Stage:
    """A gateway whose reader of bodies is broken; keys, limits and the log of refusals are real."""

    def __init__(self, router: Router, worker: Worker, engine: Engine, sealer: Sealer, directory: Path) -> None:
        cache = KeyCache(
            engine, sealer, lambda function, *more: function(*more), generation=lambda: worker.membership.generation
        )
        limits = Limits(worker.counters, worker.accounting, router.database.seeds)
        admission = AdmissionController(cache, worker.counters, worker.accounting, limits)
        self.broken, self.refusals, self.directory = Broken(), RefusalLog(directory), directory
        unused = cast("Any", None)
        self.gateway = Gateway(
            worker.accounting,
            admission,
            cast("Any", self.broken),
            limits,
            cast("Any", SimpleNamespace(origins={})),
            unused,
            unused,
            self.refusals,
            (),
            dict,
        )

    def noted(self) -> list[dict[str, Any]]:
        """The refusals that were counted."""
        self.refusals.hand_over()
        return [entry for path in self.directory.glob("*.json") for entry in json.loads(path.read_bytes())]


@pytest.fixture
def stage(router: Router, worker: Worker, engine: Engine, sealer: Sealer, tmp_path: Path) -> Stage:
    return Stage(router, worker, engine, sealer, tmp_path / "refusals")


def request_of(secret: str, *, gone: bool = False) -> Request:
    headers = ((b"x-api-key", secret.encode()), (b"anthropic-version", b"2023-06-01"))
    untouched = Untouched(gone=gone)
    return Request("POST", "/v1/messages", "", headers, untouched, untouched)


def test_it_works(stage: Stage, make_key: MakeKey) -> None:
    key_id, secret = make_key()
    request = request_of(secret.raw)
    with pytest.raises(RequestFailed) as raised:
        stage.gateway.handle(request)
    assert raised.value.__cause__ is stage.broken.error
    answer = stage.gateway.error_response(raised.value, request)
    headers = dict(answer.headers)
    assert (answer.status, headers[b"x-router-error"]) == (500, b"internal_error")
    assert json.loads(cast("bytes", answer.body))["type"] == "error"  # in the caller's dialect
    (noted,) = stage.noted()
    assert (noted["key_id"], noted["reason"], noted["status"], noted["count"]) == (key_id, "internal_error", 500, 1)
    assert noted["request_id"].encode() == headers[b"x-request-id"]
    assert "of ours" not in noted["sentence"]


def test_whom_nobody_is_told_of(stage: Stage, make_key: MakeKey) -> None:
    """A client that has left is no fault, and without a key there is nobody who looks after it."""
    _, secret = make_key()
    with pytest.raises(RequestFailed):
        stage.gateway.handle(request_of(secret.raw, gone=True))
    stage.broken.error = ClientGone()
    with pytest.raises(ClientGone):
        stage.gateway.handle(request_of(secret.raw))
    assert stage.noted() == []

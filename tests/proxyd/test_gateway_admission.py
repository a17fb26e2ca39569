"""What is admitted, and what is said, by a snapshot of a key that may have been overtaken."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import pytest
from accounting_kit import Worker
from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import RequestContext
from proxyd.gateway.limits import Limits
from proxyd.gateway.rejection import Rejection
from proxyd.key_cache import KeyCache
from shared.keys import NewKey
from shared.models import ProxyKey
from shared.policy import Reason
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]


class Database:
    """Answers until it is down; counts how often it was asked since."""

    def __init__(self) -> None:
        self.down = False
        self.asked = 0

    def offload(self, function: Callable[..., Any], *arguments: Any) -> Any:
        if self.down:
            self.asked += 1
            raise OperationalError("select", {}, Exception("down"))
        return function(*arguments)


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def admission(engine: Engine, sealer: Sealer, worker: Worker, database: Database) -> AdmissionController:
    keys = KeyCache(engine, sealer, database.offload, generation=lambda: worker.membership.generation)
    limits = Limits(worker.counters, worker.accounting, lambda *_: None)
    return AdmissionController(keys, worker.counters, worker.accounting, limits)


def reason(admission: AdmissionController, secret: NewKey) -> Reason | None:
    """Why a request with this key is refused by its head; None: it is not."""
    untouched: Any = None  # neither the request nor its head is looked at: whoever does, fails
    address = ip_address("203.0.113.7")
    context = RequestContext(untouched, 1, "req_1", untouched, address, "openai", 0.0, secret.digest)
    found = admission.check_key(context)
    return found.deny.reason if isinstance(found, Rejection) else None


def edited(engine: Engine, worker: Worker, key_id: str, *, paused: bool) -> None:
    """As the dashboard does it: commit, then tell the counters."""
    with Session(engine) as session:
        key = session.get_one(ProxyKey, key_id)
        key.paused = paused
        key.version += 1
        session.commit()
        worker.counters.publish(worker.membership.generation, {key_id: key.version}, {})


def test_an_edit_is_obeyed(admission: AdmissionController, engine: Engine, worker: Worker, make_key: MakeKey) -> None:
    key_id, secret = make_key(paused=True)
    assert reason(admission, secret) is Reason.KEY_PAUSED
    edited(engine, worker, key_id, paused=False)
    assert reason(admission, secret) is None


def test_what_was_edited_is_asked_for_once_while_the_database_is_down(
    admission: AdmissionController, engine: Engine, worker: Worker, make_key: MakeKey, database: Database
) -> None:
    """What is kept is known to be wrong: it is no answer, and to ask again for it would only take time."""
    key_id, secret = make_key(paused=True)
    assert reason(admission, secret) is Reason.KEY_PAUSED
    edited(engine, worker, key_id, paused=False)
    database.down = True
    assert reason(admission, secret) is Reason.KEYS_UNAVAILABLE
    assert database.asked == 1
    database.down = False
    assert reason(admission, secret) is None


def test_what_was_not_edited_is_an_answer_while_the_database_is_down(
    admission: AdmissionController, engine: Engine, worker: Worker, make_key: MakeKey, database: Database
) -> None:
    key_id, secret = make_key()
    edited(engine, worker, key_id, paused=True)
    assert reason(admission, secret) is Reason.KEY_PAUSED
    database.down = True
    assert reason(admission, secret) is Reason.KEY_PAUSED

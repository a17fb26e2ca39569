"""What is admitted, and what is said, by a snapshot of a key that may have been overtaken."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

import pytest
from accounting_kit import Router, Worker
from ledger_kit import NOON
from request_kit import Untouched
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.head import head_info
from proxyd.gateway.limits import Limits
from proxyd.gateway.model_router import refuse_model
from proxyd.gateway.rejection import Rejection
from proxyd.gateway.route import find_route, unified_target
from proxyd.key_cache import KeyCache
from proxyd.messages import Request
from proxyd.providers import Parsed
from shared.catalog import PROVIDERS, Kind
from shared.counters import Batch, CountersLost, Decision
from shared.keys import NewKey
from shared.models import ProxyKey
from shared.policy import Reason
from shared.pricing import Size, bound
from shared.routing import Unified
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


SIZE = Size(1_000, output_limit=1_000)
NEEDED = bound("openai", "gpt-4o", SIZE, at=NOON) or 0


def told_the_time(
    engine: Engine, sealer: Sealer, worker: Worker, router: Router, now: Callable[[], float]
) -> tuple[KeyCache, AdmissionController]:
    """Both by a clock that the test turns."""
    keys = KeyCache(
        engine,
        sealer,
        lambda function, *arguments: function(*arguments),
        generation=lambda: worker.membership.generation,
        now=now,
    )
    limits = Limits(worker.counters, worker.accounting, router.database.seeds)
    return keys, AdmissionController(keys, worker.counters, worker.accounting, limits, now=now)


def chat(worker: Worker, secret: NewKey) -> RequestContext:
    """A request of `SIZE`, whose body has been read."""
    untouched = Untouched()
    request = Request("POST", "/openai/v1/chat/completions", "", (), untouched, untouched)
    seq, number = worker.accounting.new_id()
    head = head_info(request, ())
    context = RequestContext(request, seq, number, head, ip_address("10.0.0.1"), "openai", 0.0, secret.digest)
    assert isinstance(head.match.route, Target)
    context.target, context.model = head.match.route, "gpt-4o"
    context.parsed = Parsed(Kind.CHAT, "gpt-4o", False, SIZE, False, {}, b"")
    return context


def test_a_raise_that_ends_while_the_body_is_on_its_way_raises_nothing(
    engine: Engine, sealer: Sealer, worker: Worker, router: Router, make_key: MakeKey
) -> None:
    """The key was found while it ran; what is judged is the moment of admission."""
    until = datetime.fromtimestamp(NOON + 10, UTC)
    _, secret = make_key(spend_limit_nanos=1, spend_limit_boost_nanos=NEEDED, spend_limit_boost_until=until)
    now = [NOON]
    keys, admission = told_the_time(engine, sealer, worker, router, lambda: now[0])

    def admitted() -> Admission | Rejection:
        return admission.admit(known, chat(worker, secret))

    known = keys.find(secret.digest)
    now[0] = NOON + 10
    refused = admitted()
    assert isinstance(refused, Rejection)
    assert refused.deny.reason is Reason.SPEND_EXCEEDED
    assert (refused.deny.facts["limit_usd"], refused.deny.facts["spend_limit_boost_usd"]) == ("0.000000001", None)
    now[0] = NOON + 9.999
    assert isinstance(admitted(), Admission)
    held = admitted()
    assert isinstance(held, Rejection)
    assert held.deny.reason is Reason.SPEND_HELD
    assert held.deny.facts["spend_limit_boost_until"] == "2026-11-24T12:00:10Z"


@pytest.mark.parametrize("ends", ["spend_limit_boost_until", "expires_at"])
def test_what_ends_while_a_request_waits_for_counters_has_ended(
    engine: Engine, sealer: Sealer, router: Router, make_key: MakeKey, ends: str
) -> None:
    """Else it would be charged by what was judged before."""
    now = [NOON]
    worker = Worker(router, now=lambda: now[0])
    router.workers.append(worker)
    router.rounds()
    raised = {"spend_limit_nanos": 1, "spend_limit_boost_nanos": NEEDED}
    fields: dict[str, Any] = {"spend_limit_nanos": NEEDED} if ends == "expires_at" else raised
    _, secret = make_key(**fields, **{ends: datetime.fromtimestamp(NOON + 10, UTC)})
    keys, admission = told_the_time(engine, sealer, worker, router, lambda: now[0])
    real = worker.counters.apply_batch

    def lose(batch: Batch) -> list[Decision]:
        worker.counters.apply_batch = real  # type: ignore[method-assign]
        now[0] = NOON + 10
        raise CountersLost("they are made anew")

    worker.counters.apply_batch = lose  # type: ignore[method-assign]
    refused = admission.admit(keys.find(secret.digest), chat(worker, secret))
    assert reason_of(refused) is (Reason.KEY_EXPIRED if ends == "expires_at" else Reason.SPEND_EXCEEDED)
    assert worker.counters.apply_batch == real, "it was asked"


def context_of(secret: NewKey) -> RequestContext:
    untouched: Any = None  # neither the request nor its head is looked at: whoever does, fails
    return RequestContext(untouched, 1, "req_1", untouched, ip_address("203.0.113.7"), "openai", 0.0, secret.digest)


def reason(admission: AdmissionController, secret: NewKey) -> Reason | None:
    """Why a request with this key is refused by its head; None: it is not."""
    return reason_of(admission.check_key(context_of(secret)))


def reason_of(found: object) -> Reason | None:
    return found.deny.reason if isinstance(found, Rejection) else None


def edited(engine: Engine, worker: Worker, key_id: str, **fields: object) -> None:
    """As the dashboard does it: commit, then tell the counters."""
    with Session(engine) as session:
        key = session.get_one(ProxyKey, key_id)
        for name, value in fields.items():
            setattr(key, name, value)
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


def refused_model(
    admission: AdmissionController, secret: NewKey, model: str, *, since: Callable[[], None] = lambda: None
) -> Reason | None:
    """Why a message for a model of OpenAI's is refused before it is translated; `since` happens after the first look."""
    route = find_route("POST", "/v1/messages")
    assert isinstance(route, Unified)
    target = unified_target(route, PROVIDERS["openai"])
    assert isinstance(target, Target)
    context = context_of(secret)
    known = admission.check_key(context)
    assert not isinstance(known, Rejection)
    since()
    context.target, context.model = target, model
    return reason_of(refuse_model(admission, known, context, time.time()))


def test_a_model_is_refused_before_anything_is_done_for_it(admission: AdmissionController, make_key: MakeKey) -> None:
    _, some = make_key(allowed_models=["gpt-4*"])
    assert refused_model(admission, some, "gpt-4o") is None
    assert refused_model(admission, some, "gpt-5") is Reason.MODEL_NOT_ALLOWED
    _, narrow = make_key(allowed_providers=["anthropic"])
    assert refused_model(admission, narrow, "gpt-4o") is Reason.PROVIDER_NOT_ALLOWED
    _, capped = make_key(spend_limit_nanos=1, allowed_providers=["openai"])
    assert refused_model(admission, capped, "gpt-4o") is None, "what it costs is not known yet"


def test_a_model_is_refused_by_the_key_as_it_stands_now(
    admission: AdmissionController, engine: Engine, worker: Worker, make_key: MakeKey
) -> None:
    key_id, secret = make_key(allowed_models=["gpt-4*"])
    assert reason(admission, secret) is None  # it is known from now on
    opened = {"allowed_models": ["gpt-*"]}
    assert refused_model(admission, secret, "gpt-5", since=lambda: edited(engine, worker, key_id, **opened)) is None
    paused = {"paused": True}
    refused = refused_model(admission, secret, "o3", since=lambda: edited(engine, worker, key_id, **paused))
    assert refused is Reason.KEY_PAUSED


def test_another_zone_holds_for_the_next_request(
    engine: Engine, sealer: Sealer, router: Router, worker: Worker, make_key: MakeKey
) -> None:
    """It is another version of what the keys of an organisation share, as its budget is. Noon is Kamchatka's midnight."""
    _, secret = make_key(spend_limit_nanos=10**12, spend_reset="daily")
    keys, admission = told_the_time(engine, sealer, worker, router, lambda: NOON)
    noon = datetime.fromtimestamp(NOON, UTC).date().toordinal()

    def day() -> int:
        found = admission.admit(keys.find(secret.digest), chat(worker, secret))
        assert isinstance(found, Admission), found
        assert found.charged.spend is not None
        assert found.charged.spend.period_start.toordinal() == found.charged.day
        return found.charged.day

    assert day() == noon
    for version, (zone, later) in enumerate((("Asia/Kamchatka", 1), ("UTC", 0), ("Mars/Olympus_Mons", 0)), start=2):
        with engine.begin() as connection:
            values = {"zone": zone, "version": version}
            connection.execute(text("update organizations set time_zone = :zone, policy_version = :version"), values)
        router.observer.publish(worker.membership.generation, {}, {"org_1": version})
        assert day() == noon + later

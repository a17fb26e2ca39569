"""The composition root of one worker: the only place where all parts of the data plane know each other."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gevent
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.job_booker import JobBooker
from proxyd.accounting.limited_models import LimitsOf, RowsOfTold
from proxyd.accounting.machine import machine_of
from proxyd.accounting.membership import Membership
from proxyd.accounting.provider_jobs import ProviderJobs
from proxyd.accounting.records import LedgerUnavailable
from proxyd.accounting.refusal_log import RefusalLog
from proxyd.accounting.seeding import Seeds
from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser
from proxyd.credential_reports import CredentialRefusals, CredentialReports
from proxyd.credentials import Credential, CredentialHealth, Told
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.batch_finder import BatchFinder
from proxyd.gateway.body_reader import BodyReader
from proxyd.gateway.bounds import SecondLook
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.exchange import Gateway
from proxyd.gateway.failover import Failover
from proxyd.gateway.later import LaterBilling
from proxyd.gateway.limits import Limits
from proxyd.gateway.session_admission import SessionAdmission
from proxyd.gateway.token_counter import TokenCounter
from proxyd.gateway.upload_links import UploadLinks
from proxyd.key_cache import KeyCache
from proxyd.messages import origin_of
from proxyd.monitoring.worker_monitor import WorkerMonitor
from proxyd.offload import Offload, OffloadTimeout, Threads
from proxyd.readiness import Readiness
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from proxyd.websocket.opening import SessionOpener
from proxyd.worker import WorkerParts
from shared import counters, db, pricing
from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.sealing import Sealer

log = logging.getLogger(__name__)

DATABASE_THREADS = 4
DATABASE_SECONDS = 2.0
# Of each thread's connection. Keys are loaded one by one and then kept: a larger one is no faster, and megabytes more.
DATABASE_CACHE_KIB = 512


@dataclass(slots=True)
class Worker:
    """Everything one worker process holds."""

    gateway: Gateway
    accounting: Accounting
    refusals: RefusalLog
    counters: counters.Counters
    engine: Engine
    offload: Offload
    readiness: Readiness
    monitor: WorkerMonitor | None  # None: nobody wants to see metrics

    def start(self) -> None:
        """Enter the accounting; what is missing for it is tried again in the background."""
        self.accounting.start()
        self.refusals.start()
        if self.monitor is not None:
            self.monitor.start()

    def take_slot(self, slot: int) -> None:
        """Know which of the pool's places it has."""
        if self.monitor is not None:
            self.monitor.page.write(slot=slot)

    def stop(self) -> None:
        """Write down what is left. Called after the last connection has ended."""
        self.accounting.stop()
        self.refusals.stop()
        if self.monitor is not None:
            self.monitor.stop()
        self.counters.close()
        self.engine.dispose()

    def faults(self) -> dict[str, str]:
        """What keeps this worker from serving; empty when it is ready."""
        found = self.readiness.asked() | self.accounting.faults()
        try:
            self.offload(_ask, self.engine)
        except (SQLAlchemyError, OffloadTimeout) as error:
            found["database"] = type(error).__name__
        return found


def build(settings: Settings, readiness: Readiness | None = None) -> Worker:
    """Put a worker together. Opens no connection; call it after the fork, in the process that will use it.

    `readiness` is its pool's; it has one of its own without one.
    """
    engine = db.create(settings.database_url, cache_kib=DATABASE_CACHE_KIB)
    offload = Threads(DATABASE_THREADS, DATABASE_SECONDS)
    shared_counters = counters.connect(settings.limits_url, sleep=gevent.sleep)
    database = AccountingDatabase(engine)
    asked = _asker(offload)
    limits_of: LimitsOf = lambda key_ids: asked(database.model_limits, key_ids)  # noqa: E731 - its type is told here
    enter = lambda worker_id: asked(database.enter, worker_id, machine_of(settings.data_dir))  # noqa: E731 - likewise
    sync = settings.journal_sync == "batch"
    membership = Membership(settings.data_dir, shared_counters, enter, sync=sync, limits_of=limits_of)
    seeds: Seeds = lambda *wanted: asked(database.seeds, *wanted)  # noqa: E731 - its type is told here
    monitor = None if settings.metrics_bind is None else WorkerMonitor(settings.data_dir)
    page = None if monitor is None else monitor.page
    accounting = Accounting(membership, shared_counters, seeds, on_batch=None if page is None else page.count_batch)
    limits = Limits(shared_counters, accounting, seeds)
    health = _credential_health(CredentialRefusals(engine), asked)
    generation = lambda: membership.generation  # noqa: E731 - it changes
    keys = KeyCache(engine, Sealer(settings.encryption_keys), offload, health=health, generation=generation)
    origins = {slug: origin_of(url) for slug, url in settings.provider_urls.items() if slug in PROVIDERS}
    pool = UpstreamPool(UpstreamLimits(private_networks=settings.provider_networks))
    pool.prepare()
    pricing.load()
    links = UploadLinks(settings.encryption_keys, settings.trusted_proxies, settings.public_url)
    parser = BodyParser()
    second_look = SecondLook(TokenCounter(pool, origins, parser, health))
    admission = AdmissionController(
        keys, shared_counters, accounting, limits, second_look, on_unheld=None if page is None else page.count_unheld
    )
    if monitor is not None:
        monitor.watch(membership, pool, admission)
    booker = JobBooker(
        accounting,
        membership,
        ProviderJobs(engine),
        asked,
        limits_of=limits_of,
    )
    later = LaterBilling(booker, links, BatchFinder(pool, origins, booker), parser)
    failover = Failover(accounting, pool, health)
    dispatcher = Dispatcher(accounting, pool, origins, DetachedStreams(gevent.spawn), links, later, failover)
    worker: Worker
    ready = lambda: worker.faults()  # noqa: E731, PLW0108 - it exists later
    memory = BodyMemory()
    bodies = BodyReader(admission, memory, parser)
    refusals = RefusalLog(settings.data_dir / "refusals")
    rows = RowsOfTold(limits_of, generation)
    sessions = SessionAdmission(admission, accounting, shared_counters, rows, lambda: membership.may_be_limited)
    opener = SessionOpener(sessions, dispatcher, limits, parser, memory)
    gateway = Gateway(
        accounting, admission, bodies, limits, dispatcher, links, opener, refusals, settings.trusted_proxies, ready,
        on_deny=None if page is None else page.count_deny, traced=settings.otlp_endpoint is not None,
    )  # fmt: skip
    worker = Worker(gateway, accounting, refusals, shared_counters, engine, offload, readiness or Readiness(), monitor)
    return worker


def _asker(offload: Offload) -> Callable[..., Any]:
    """Questions of the accounting to the database, with one error for all that can go wrong."""

    def asked(function: Any, *arguments: Any) -> Any:
        try:
            return offload(function, *arguments)
        except (SQLAlchemyError, OffloadTimeout, OSError) as error:
            raise LedgerUnavailable(type(error).__name__) from error

    return asked


def _credential_health(refused: CredentialRefusals, asked: Callable[..., Any]) -> CredentialHealth:
    """What this worker knows of credentials; the database is told of refusals in the background."""

    def tell(credential: Credential, told: Told | None) -> None:
        try:
            asked(refused.write, credential, told)
        except LedgerUnavailable as error:
            log.warning("what a provider said to a credential is not shown: %s", error)

    return CredentialHealth(CredentialReports(tell))


def _ask(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(select(1))


def parts(settings: Settings, readiness: Readiness) -> WorkerParts:
    """What the pool needs of a worker."""
    worker = build(settings, readiness)
    return WorkerParts(
        handler=worker.gateway.handle,
        on_error=worker.gateway.error_response,
        on_start=worker.start,
        on_leave=readiness.leave,
        on_stop=worker.stop,
        on_slot=worker.take_slot,
    )

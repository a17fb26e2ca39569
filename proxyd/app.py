"""The composition root of one worker: the only place where all parts of the data plane know each other."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

import gevent
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import Journal, JournalUnavailable
from proxyd.accounting.ledger import Ledger
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.exchange import Gateway
from proxyd.key_cache import KeyCache
from proxyd.messages import Origin
from proxyd.offload import Offload, call_with
from proxyd.pool import WorkerParts
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from shared import counters, db
from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.counters import Counters, CountersUnavailable
from shared.sealing import Sealer

log = logging.getLogger(__name__)

FLUSH_SECONDS = 0.15
FLUSH_RETRY_SECONDS = 1.0
RECOVER_SECONDS = 1.0
NO_EPOCH = -1


@dataclass(slots=True)
class Worker:
    """Everything one worker process holds, and its chores in the background."""

    gateway: Gateway
    books: Accounting
    counters: Counters
    ledger: Ledger
    engine: Engine
    offload: Offload
    stopping: bool = False

    def start(self) -> None:
        """Fill new counters, bring home what dead workers left, then keep doing so."""
        for chore in (self.books.seed, self.books.recover):
            try:
                chore()
            except (SQLAlchemyError, CountersUnavailable) as error:
                log.warning("cannot %s yet: %s", chore.__name__, error)
        gevent.spawn(self._flush_for_ever)
        gevent.spawn(self._look_after_others)

    def stop(self) -> None:
        """Write down what is left. Called after the last connection has ended."""
        self.stopping = True
        self.books.close()
        self.counters.close()
        self.engine.dispose()

    def faults(self) -> dict[str, str]:
        """What keeps this worker from serving; empty when it is ready."""
        found = {}
        try:
            self.offload(self.ledger.check)
        except SQLAlchemyError as error:
            found["database"] = type(error).__name__
        try:
            if not self.counters.check():
                found["counters"] = "no answer"
        except CountersUnavailable as error:
            found["counters"] = type(error).__name__
        try:
            self.books.journal.check()
        except JournalUnavailable as error:
            found["journal"] = type(error).__name__
        return found

    def _flush_for_ever(self) -> None:
        while not self.stopping:
            gevent.sleep(FLUSH_SECONDS)
            try:
                self.books.flush()
            except SQLAlchemyError as error:
                log.warning("the ledger does not answer, %d lines wait: %s", self.books.depth, error)
                gevent.sleep(FLUSH_RETRY_SECONDS)
            except Exception:  # A process edge: without this chore nothing would reach the ledger any more.
                log.exception("ended attempts could not be posted, %d lines wait", self.books.depth)
                gevent.sleep(FLUSH_RETRY_SECONDS)

    def _look_after_others(self) -> None:
        while not self.stopping:
            gevent.sleep(RECOVER_SECONDS)
            try:
                self.books.keep_alive()
                self.books.recover()
            except (SQLAlchemyError, CountersUnavailable) as error:
                log.warning("recovery waits: %s", error)
            except Exception:  # A process edge: without this chore our holds would lapse.
                log.exception("recovery failed, and is tried again")


def build(settings: Settings) -> Worker:
    """Put one worker together. Opens the journal, the counters and the database of this process."""
    offload: Offload = gevent.get_hub().threadpool.apply
    engine = db.create(settings.database_url)
    shared_counters = counters.connect(settings.limits_url)
    ledger = Ledger(engine)
    books = Accounting(Journal(settings.data_dir / "journals"), shared_counters, ledger, call_with(offload))
    keys = KeyCache(engine, Sealer(settings.encryption_keys), _epoch_of(shared_counters), call_with(offload))
    admission = AdmissionController(keys, shared_counters, books)
    origins = {slug: origin_of(url) for slug, url in settings.provider_urls.items() if slug in PROVIDERS}
    dispatcher = Dispatcher(books, UpstreamPool(UpstreamLimits()), origins, DetachedStreams(gevent.spawn))
    worker: Worker
    gateway = Gateway(admission, dispatcher, settings.trusted_proxies, lambda: worker.faults())  # noqa: PLW0108 - it exists later
    worker = Worker(gateway, books, shared_counters, ledger, engine, call_with(offload))
    return worker


def parts(settings: Settings) -> WorkerParts:
    """What the pool needs of a worker."""
    worker = build(settings)
    return WorkerParts(
        handler=worker.gateway.handle, on_error=worker.gateway.complain, on_start=worker.start, on_stop=worker.stop
    )


def origin_of(url: str) -> tuple[Origin, str]:
    """A base address as a place to connect to and the path that stands before every target."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    host = address.hostname or ""
    return Origin(address.scheme, host, port, address.netloc), address.path.rstrip("/")


def _epoch_of(shared_counters: Counters) -> Callable[[str], int]:
    """The policy epoch of an organisation, or one that no organisation has while the counters do not answer."""

    def epoch_of(org_id: str) -> int:
        try:
            return shared_counters.epoch(org_id)
        except CountersUnavailable:
            return NO_EPOCH

    return epoch_of

"""The whole gateway of one worker without its inbound sockets, before a provider that is really there."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from accounting_kit import Router, Worker
from gevent.pywsgi import WSGIServer
from gevent.server import StreamServer
from sqlalchemy import Engine, select, update
from sqlalchemy.orm import Session

from proxyd.accounting.job_booker import JobBooker
from proxyd.accounting.provider_jobs import ProviderJobs
from proxyd.accounting.refusal_log import RefusalLog
from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser
from proxyd.credentials import Credential, CredentialHealth, Told
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.batch_finder import BatchFinder
from proxyd.gateway.body_reader import BodyReader
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.exchange import Gateway
from proxyd.gateway.failover import Failover
from proxyd.gateway.later import LaterBilling
from proxyd.gateway.limits import Limits
from proxyd.gateway.session_admission import SessionAdmission
from proxyd.gateway.upload_links import UploadLinks
from proxyd.key_cache import KeyCache
from proxyd.messages import Headers, Request, Response, origin_of
from proxyd.monitoring.page import WorkerPage
from proxyd.sandbox.server import listen
from proxyd.sandbox.service import SandboxService
from proxyd.upstream.pool import UpstreamLimits, UpstreamPool
from proxyd.websocket.opening import SessionOpener
from shared import ids
from shared.keys import NewKey
from shared.models import Organization, ProviderCredential, UsageRecord
from shared.sealing import Sealer

GOOD, OTHER = "sandbox-good-credential-0001", "sandbox-other-credential-0002"
LIMITED, REFUSED, BUSY = (f"sandbox-answers-{what}-credential-{what}x" for what in ("429", "401", "503"))
SILENT = "sandbox-answers-nothing-credential-0003"
LIMIT_NANOS = 10**9


CHAT = {"model": "gpt-4o-mini", "max_tokens": 16, "messages": [{"role": "user", "content": "hello"}]}


@dataclass
class App:
    """A client, which may leave at any moment."""

    peer: str = "10.0.0.1"
    gone: bool = False
    callback: Callable[[], None] | None = None

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        self.callback = callback
        if callback is not None and self.gone:
            callback()

    def leave(self) -> None:
        self.gone = True
        if self.callback is not None:
            self.callback()


@dataclass
class Sent:
    """The body of a request, whole or in pieces."""

    data: bytes
    piece_bytes: int = 50_000

    @property
    def length(self) -> int | None:
        return len(self.data)

    def read(self, limit_bytes: int) -> bytes:
        assert len(self.data) <= limit_bytes
        return self.data

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        assert len(self.data) <= limit_bytes
        for start in range(0, len(self.data), self.piece_bytes):
            yield self.data[start : start + self.piece_bytes]


@dataclass
class Answered:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Gate:
    """One worker's gateway. Its clock of credentials and that of deadlines are turned by hand."""

    router: Router
    worker: Worker
    engine: Engine
    sealer: Sealer
    key_id: str
    key: str
    page: WorkerPage | None = None  # where its requests are counted
    gateway: Gateway = field(init=False)
    admission: AdmissionController = field(init=False)
    refusals: RefusalLog = field(init=False)
    health: CredentialHealth = field(init=False)
    pool: UpstreamPool = field(init=False)
    memory: BodyMemory = field(default_factory=BodyMemory)
    at: float = 1_000_000.0
    mono_at: float = 1_000.0
    told: list[tuple[str, Told | None]] = field(default_factory=list)  # labels, and what was said to them
    on_told: Callable[[], object] = lambda: None

    def open(self, url: str, pool: UpstreamPool | None = None) -> None:
        """Let `url` be all providers."""
        worker, router = self.worker, self.router
        plainly = lambda function, *arguments: function(*arguments)  # noqa: E731
        self.health = CredentialHealth(self._hear, now=lambda: self.at)
        keys = KeyCache(
            self.engine, self.sealer, plainly, health=self.health, generation=lambda: worker.membership.generation
        )
        accounting, limits = worker.accounting, Limits(worker.counters, worker.accounting, router.database.seeds)
        origins = {slug: origin_of(url) for slug in ("openai", "anthropic", "gemini")}
        self.pool = pool = pool or UpstreamPool(UpstreamLimits(connect_seconds=2.0, first_byte_seconds=20.0))
        links, parser, memory = UploadLinks(["k" * 43 + "="], (), None), BodyParser(), self.memory
        page = self.page
        self.admission = admission = AdmissionController(
            keys, worker.counters, accounting, limits, on_unheld=None if page is None else page.count_unheld
        )
        self.refusals = RefusalLog(router.directory / "refusals")
        limits_of = router.database.model_limits
        booker = JobBooker(accounting, worker.membership, ProviderJobs(self.engine), plainly, limits_of=limits_of)
        later = LaterBilling(booker, links, BatchFinder(pool, origins, booker), parser)
        failover = Failover(accounting, pool, self.health, monotonic=lambda: self.mono_at)
        detached = DetachedStreams(lambda *_: None)
        dispatcher = Dispatcher(accounting, pool, origins, detached, links, later, failover)
        sessions = SessionAdmission(
            admission, accounting, worker.counters, worker.rows_of_told, lambda: worker.membership.may_be_limited
        )
        self.gateway = Gateway(
            accounting, admission, BodyReader(admission, memory, parser), limits, dispatcher, links,
            SessionOpener(sessions, dispatcher, limits, parser, memory), self.refusals, (), dict,
            on_deny=None if page is None else page.count_deny,
        )  # fmt: skip

    def _hear(self, credential: Credential, told: Told | None) -> None:
        self.told.append((credential.label, told))
        self.on_told()

    def store(self, secret: str, label: str = "default", **fields: Any) -> None:
        """A credential of OpenAI; the one that `make_key` left is replaced by the default."""
        at = datetime.now(UTC)
        with Session(self.engine) as session:
            slug = fields.get("provider", "openai")
            known = session.scalar(select(ProviderCredential).filter_by(label=label, provider=slug))
            row = known or ProviderCredential(id=ids.new_id("cred"), org_id="org_1", provider=slug, label=label)
            row.sealed, row.last4, row.created_at, row.created_by = self.sealer.seal(secret), secret[-4:], at, "test"
            for name, value in fields.items():
                setattr(row, name, value)
            session.add(row)
            session.execute(update(Organization).values(policy_version=Organization.policy_version + 1))
            version = session.scalar(select(Organization.policy_version)) or 0
            session.commit()
        self.worker.counters.publish(self.worker.membership.generation, {}, {"org_1": version})

    def ask(
        self,
        document: object = None,
        *,
        path: str = "/v1/chat/completions",
        app: App | None = None,
        body: bytes = b"",
        kind: bytes = b"application/json",
        more: Headers = (),
        method: str = "POST",
        query: str = "",
    ) -> Answered:
        """What the app gets, to the last byte."""
        headers: Headers = ((b"authorization", f"Bearer {self.key}".encode()), (b"content-type", kind), *more)
        told = json.dumps(CHAT if document is None else document).encode() if method == "POST" else b""
        response = self.gateway.handle(Request(method, path, query, headers, app or App(), Sent(body or told)))
        return answered(response)

    def handshake(self, path: str, query: str) -> Response:
        """The answer to a WebSocket's handshake; whoever gets a 101 has to abandon it."""
        headers: Headers = (
            (b"authorization", f"Bearer {self.key}".encode()), (b"upgrade", b"websocket"), (b"connection", b"Upgrade"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="), (b"sec-websocket-version", b"13"),
        )  # fmt: skip
        return self.gateway.handle(Request("GET", path, query, headers, App(), Sent(b"")))

    def rows(self) -> list[UsageRecord]:
        """The ledger's, in the order of ids, once all that ended is in it."""
        self.router.rest(self.worker)
        with Session(self.engine) as session:
            return list(session.scalars(select(UsageRecord).order_by(UsageRecord.id)))


Reply = tuple[str, list[tuple[str, str]], bytes]  # status line, headers, body
Serve = Callable[[Callable[[str, str], Reply]], None]


def scripted(answers: Callable[[str, str], Reply]) -> WSGIServer:
    """A provider that answers by the credential it is asked with, and by what for ("GET /v1/batches/batch_1")."""

    def serve(environ: dict[str, str], start: Callable[..., object]) -> list[bytes]:
        secret = (environ.get("HTTP_AUTHORIZATION") or environ["HTTP_X_GOOG_API_KEY"]).removeprefix("Bearer ")
        status, headers, body = answers(secret, f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
        start(status, [("content-length", str(len(body))), ("content-type", "application/json"), *headers])
        return [body]

    server = WSGIServer(("127.0.0.1", 0), serve, log=None)
    server.start()
    return server


def answered(response: Response) -> Answered:
    body = response.body
    if not isinstance(body, bytes):
        pieces = body
        body = b"".join(pieces)
        getattr(pieces, "close", lambda: None)()
    return Answered(response.status, {name.decode(): value.decode() for name, value in response.headers}, body)


class Provider:
    """The sandbox, in this process."""

    def __init__(self) -> None:
        self.service = SandboxService()
        self.server: StreamServer = listen("127.0.0.1", 0, self.service)
        self.server.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def seen(self) -> list[tuple[str, int]]:
        """How the credential of each attempt ended, and what it was answered with."""
        return [(attempt.key_ending, attempt.status) for attempt in self.service.invoice.attempts]

    @property
    def total_nanos(self) -> int:
        return sum(attempt.cost_nanos for attempt in self.service.invoice.attempts)


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.server.stop(timeout=1)


@pytest.fixture
def gate(
    router: Router, worker: Worker, engine: Engine, sealer: Sealer, make_key: Callable[..., tuple[str, NewKey]]
) -> Iterator[Gate]:
    key_id, key = make_key(spend_limit_nanos=LIMIT_NANOS)
    gate = Gate(router, worker, engine, sealer, key_id, key.raw)
    yield gate
    gate.pool.close()


@pytest.fixture
def serve(gate: Gate) -> Iterator[Serve]:
    """Open the gate before a provider that answers as a function says."""
    servers: list[WSGIServer] = []

    def begin(answers: Callable[[str, str], Reply]) -> None:
        servers.append(scripted(answers))
        gate.open(f"http://127.0.0.1:{servers[-1].server_port}")

    yield begin
    for server in servers:
        server.stop()


def tries_of(row_tried: list[dict[str, str | None]] | None) -> list[tuple[str | None, str | None]]:
    return [(one["label"], one["why"]) for one in row_tried or ()]

"""A migrated-like database and a few values for the data plane's tests. Blocking calls run in place here."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from accounting_kit import Router, Worker, drop_all
from custom_kit import compatible_server, lab  # noqa: F401 - fixtures
from gateway_kit import gate, provider, serve  # noqa: F401 - fixtures
from machines_kit import Machines, copy_of, go_away, held_by
from pool_kit import Pool, started, until
from redis_kit import RedisServer
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from proxyd.accounting import accounting
from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.ledger import Ledger
from shared import db, ids, keys, models
from shared.keys import NewKey
from shared.models import KeySecret, Organization, ProviderCredential, ProxyKey
from shared.sealing import Sealer

FERNET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = db.create(f"sqlite:///{tmp_path / 'router.db'}")
    models.metadata().create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sealer() -> Sealer:
    return Sealer([FERNET])


@pytest.fixture
def make_key(engine: Engine, sealer: Sealer) -> Callable[..., tuple[str, NewKey]]:
    """Issue a key as the dashboard would; returns (row id, secret)."""

    def make(**fields: Any) -> tuple[str, NewKey]:
        now = datetime.now(UTC)
        secret = keys.mint(keys.PROXY_TAG)
        with Session(engine) as session:
            org = session.get(Organization, "org_1")
            if org is None:
                session.add(Organization(id="org_1", name="Acme", created_at=now))
                session.add(
                    ProviderCredential(
                        id=ids.new_id("cred"), org_id="org_1", provider="openai", sealed=sealer.seal("sk-real"),
                        last4="real", created_at=now, created_by="test",
                    )
                )  # fmt: skip
                session.flush()
            key = ProxyKey(
                id=ids.new_id("key"), org_id="org_1", name="app", prefix=secret.prefix, created_at=now,
                created_by="test", **fields,
            )  # fmt: skip
            key.secrets.append(KeySecret(digest=secret.digest, created_at=now))
            session.add(key)
            session.commit()
            return key.id, secret

    return make


@pytest.fixture
def router(tmp_path: Path, engine: Engine) -> Iterator[Router]:
    router = Router(tmp_path, engine)
    yield router
    for worker in router.workers:
        worker.kill()


@pytest.fixture
def worker(router: Router) -> Worker:
    worker = router.worker()
    router.rounds()
    return worker


@pytest.fixture(params=["sqlite", "postgresql"])
def any_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """SQLite and PostgreSQL in turn, with a key; the generation is 4."""
    url = f"sqlite:///{tmp_path / 'router.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").replace("postgresql://", "postgresql+psycopg://")
    engine = db.create(url)
    models.metadata().create_all(engine)
    with engine.begin() as connection:
        connection.execute(text("insert into accounting_state (id, generation) values (1, 4)"))
        connection.execute(
            text(
                "insert into organizations (id, name, created_at, policy_version) values ('org_1', 'A', '2026-01-01', 1)"
            )
        )
        connection.execute(
            text(
                "insert into proxy_keys (id, org_id, name, prefix, allowed_providers, allowed_models, allowed_ips,"
                " spend_reset, created_at, created_by, version)"
                " values ('key_1', 'org_1', 'a', 'p', '[]', '[]', '[]', 'daily', '2026-01-01', 't', 1)"
            )
        )
    yield engine
    drop_all(engine)


@pytest.fixture
def database(any_engine: Engine) -> AccountingDatabase:
    """One journal is registered: 01W."""
    database = AccountingDatabase(any_engine)
    database.register("01W", "machine_1")
    return database


@pytest.fixture
def ledger(any_engine: Engine, database: AccountingDatabase) -> Ledger:
    return Ledger(any_engine)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture
def machines(
    tmp_path: Path, engine: Engine, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Machines]:
    """Both with one worker, at rest."""
    monkeypatch.setattr(accounting, "POLL_SECONDS", 0.0)
    machines = Machines(tmp_path, engine, redis_server)
    for machine in machines.both:
        machine.worker()
    machines.rounds(2)
    yield machines
    machines.close()


@pytest.fixture
def given_up(machines: Machines, tmp_path: Path) -> Path:
    """B has gone away with a call that ended and two in flight, and this is a copy of its data directory."""
    ended, *_ = held_by(machines.b, 300, 500, 600)
    machines.b.rounds()
    machines.b.workers[0].settle(ended, 70)
    go_away(machines)
    return copy_of(machines.b, tmp_path / "copy")


@pytest.fixture
def pool(tmp_path: Path) -> Iterator[Pool]:
    """Two workers, which have started."""
    with started(tmp_path) as pool:
        until(lambda: len(list(tmp_path.glob("start-*"))) == 2)
        yield pool

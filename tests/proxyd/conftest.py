"""A migrated-like database and a few values for the data plane's tests. Blocking calls run in place here."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from shared import db, ids, keys
from shared.keys import NewKey
from shared.models import KeySecret, Organization, ProviderCredential, ProxyKey
from shared.sealing import Sealer

FERNET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    engine = db.create(f"sqlite:///{tmp_path / 'router.db'}")
    db.Base.metadata.create_all(engine)
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

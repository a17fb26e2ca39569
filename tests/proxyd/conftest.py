"""A migrated-like database and a few values for the data plane's tests. Blocking calls run in place here."""

from datetime import UTC, datetime

import pytest
from sqlalchemy.orm import Session

from proxyd.records.journal import Attempt, Settlement
from shared import db, ids, keys
from shared.models import KeySecret, Organization, ProviderCredential, ProxyKey
from shared.sealing import Sealer

FERNET = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


@pytest.fixture
def engine(tmp_path):
    engine = db.create(f"sqlite:///{tmp_path / 'router.db'}")
    db.Base.metadata.create_all(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def sealer():
    return Sealer([FERNET])


@pytest.fixture
def make_key(engine, sealer):
    """Issue a key as the dashboard would; returns (row id, secret)."""

    def make(**fields):
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


def attempt(number: int = 1, **fields) -> Attempt:
    values = {
        "id": f"req_{number:08d}", "org_id": "org_1", "key_id": "key_1", "provider": "openai",
        "endpoint": "/v1/chat/completions", "requested_model": "gpt-4o", "streamed": False, "bound_nanos": 1_000,
        "day": "2026-11-24", "admitted_at": 1_795_500_000.25, "client_ip": "203.0.113.7",
    }  # fmt: skip
    return Attempt(**{**values, **fields})


def settlement(**fields) -> Settlement:
    values = {
        "status": 200, "outcome": "ok", "flags": (), "usage": {"input_tokens": 3, "output_tokens": 5},
        "served_model": "gpt-4o-2024-08-06", "service_tier": "default", "price": {"id": "gpt-4o"}, "cost_nanos": 700,
        "duration_ms": 12, "provider_request_id": "p-1",
    }  # fmt: skip
    return Settlement(**{**values, **fields})

"""Revision 0024, on both databases: on the way back nothing stays that the release before would stumble over."""

from datetime import UTC, datetime

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from shared.models import CredentialRefusal, CustomProvider, Organization, PriceOverride, ProviderCredential, ProxyKey
from webapp.db import db, writing

AT = datetime(2026, 11, 24, tzinfo=UTC)
KEYS = {"key_all": [], "key_built_in": ["openai"], "key_both": ["openai", "lab"], "key_own": ["lab"]}


def test_it_works(empty: Flask) -> None:
    directory = empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory)
        with writing() as session:
            session.add(Organization(id="org_1", name="o", created_at=AT))
            session.flush()
            own = CustomProvider(
                id="prov_1", org_id="org_1", name="lab", base_url="https://x/v1", auth="none", models=[]
            )
            own.created_at, own.created_by = AT, "t"
            session.add(own)
            session.flush()
            assert (own.stream_options, own.enabled) == (True, True)
            for slug in ("openai", "lab"):
                credential = ProviderCredential(id=f"cred_{slug}", org_id="org_1", provider=slug, sealed=b"x")
                credential.last4, credential.created_at, credential.created_by = "0001", AT, "t"
                price = PriceOverride(id=f"price_{slug}", org_id="org_1", provider=slug, model="m", rates={})
                price.created_at = AT
                session.add_all((credential, price))
            session.flush()
            for slug in ("openai", "lab"):
                session.add(CredentialRefusal(credential_id=f"cred_{slug}", set_at=AT, at=AT, status=401, words=""))
            for key_id, providers in KEYS.items():
                session.add(
                    ProxyKey(id=key_id, org_id="org_1", name="k", prefix=key_id, allowed_providers=providers, created_at=AT,
                             created_by="t")
                )  # fmt: skip
        flask_migrate.downgrade(directory, revision="0023")
        with db.engine.connect() as connection:
            for table, column in (
                (ProviderCredential, "id"),
                (PriceOverride, "id"),
                (CredentialRefusal, "credential_id"),
            ):
                (left,) = connection.scalars(sa.select(table.__table__.c[column])).all()
                assert left.endswith("_openai")
            assert not sa.inspect(connection).has_table("custom_providers")
            columns = (ProxyKey.id, ProxyKey.allowed_providers, ProxyKey.paused, ProxyKey.version)
            keys = {row.id: row[1:] for row in connection.execute(sa.select(*columns))}
            assert keys == {
                "key_all": ([], False, 1),
                "key_built_in": (["openai"], False, 1),
                "key_both": (["openai"], False, 2),
                "key_own": ([], True, 2),
            }, "no key may use more than before"
        flask_migrate.upgrade(directory)

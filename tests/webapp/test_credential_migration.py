"""Revision 0023, on both databases: the credential that there was becomes the default, and one stays on the way back."""

from datetime import UTC, datetime
from typing import Any

import flask_migrate
import sqlalchemy as sa
from flask import Flask
from sqlalchemy import select

from shared.models import CredentialRefusal, ProviderCredential, ProviderJob
from webapp.db import db, writing

AT = datetime(2026, 11, 24, tzinfo=UTC)
OLD = {"org_id": "org_1", "sealed": b"x", "last4": "0001", "created_at": AT, "created_by": "system"}


def test_it_works(empty: Flask) -> None:
    directory = empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0022")
        older = sa.MetaData()
        with db.engine.connect().execution_options(writes=True) as connection, connection.begin():
            older.reflect(connection, only=["organizations", "provider_credentials", "provider_jobs"])
            job = {"provider": "openai", "job": "batch_1", "key_id": "key_1", "endpoint": "/v1/batches", "batch": True}
            connection.execute(
                older.tables["provider_jobs"].insert().values(org_id="org_1", day=AT.date(), admitted_at=AT, **job)
            )
            connection.execute(older.tables["organizations"].insert().values(id="org_1", name="o", created_at=AT))
            for slug in ("openai", "gemini"):
                row: dict[str, Any] = {"id": f"cred_{slug}", "provider": slug, **OLD}
                connection.execute(older.tables["provider_credentials"].insert().values(row))
        flask_migrate.upgrade(directory)
        found = db.session.scalars(select(ProviderCredential).order_by(ProviderCredential.id)).all()
        assert [(row.id, row.label, row.weight, row.priority, row.enabled, row.sealed) for row in found] == [
            ("cred_gemini", "default", 1, 1, True, b"x"),
            ("cred_openai", "default", 1, 1, True, b"x"),
        ]
        assert [(row.job, row.credential_id) for row in db.session.scalars(select(ProviderJob))] == [("batch_1", None)]
        with writing() as session:
            for name, priority, enabled in (("aa", 1, False), ("zz", 1, True), ("xx", 2, True)):
                session.add(
                    ProviderCredential(
                        id=f"cred_{name}", provider="openai", label=name, priority=priority, enabled=enabled, **OLD
                    )
                )
            session.flush()
            session.add(CredentialRefusal(credential_id="cred_zz", set_at=AT, at=AT, status=401, words=""))
        with writing() as session:
            session.delete(session.get(ProviderCredential, "cred_zz"))
        assert db.session.scalars(select(CredentialRefusal)).all() == [], "it goes with its credential"
        db.session.rollback()
        flask_migrate.downgrade(directory, revision="0022")
        with db.engine.connect() as connection:
            left = connection.execute(sa.text("select id from provider_credentials order by id")).scalars().all()
            jobs = connection.execute(sa.text("select job from provider_jobs")).scalars().all()
        assert (left, jobs) == (["cred_gemini", "cred_openai"], ["batch_1"])
        flask_migrate.upgrade(directory)

"""Revision 0026, on both databases: on the way back no key may do more than before."""

from datetime import UTC, datetime

import flask_migrate
import sqlalchemy as sa
from flask import Flask

from shared.models import AccountingState, Organization, ProxyKey
from webapp.db import db, writing

AT = datetime(2026, 11, 24, tzinfo=UTC)
LIMIT = {"model": "gpt-4o", "spend_limit_nanos": 1, "spend_reset": "never", "since": 0}
KEYS = {"key_limited": [LIMIT], "key_was_limited": [], "key_free": None}


def test_it_works(empty: Flask) -> None:
    directory = empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory, revision="0025")
        flask_migrate.upgrade(directory)
        with writing() as session:
            session.add(Organization(id="org_1", name="o", created_at=AT))
            session.flush()
            for key_id, limits in KEYS.items():
                session.add(
                    ProxyKey(id=key_id, org_id="org_1", name="k", prefix=key_id, model_limits=limits, created_at=AT,
                             created_by="t")
                )  # fmt: skip
        with db.engine.connect() as connection:
            assert connection.scalars(sa.select(AccountingState.model_limits)).all() in ([], [False])
        flask_migrate.downgrade(directory, revision="0025")
        with db.engine.connect() as connection:
            assert not sa.inspect(connection).has_table("model_spend")
            columns = (ProxyKey.id, ProxyKey.paused, ProxyKey.version)
            assert {row.id: row[1:] for row in connection.execute(sa.select(*columns))} == {
                "key_limited": (True, 2),
                "key_was_limited": (False, 1),
                "key_free": (False, 1),
            }
        flask_migrate.upgrade(directory)

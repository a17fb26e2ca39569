"""Revisions 0026 and 0029, on both databases: on the way back no key may do more than before, and lists have indexes."""

from datetime import UTC, datetime

import flask_migrate
import pytest
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


LIMITED = "spend_limit_nanos IS NOT NULL OR json_array_length(model_limits) > 0"
UNLIMITED = "spend_limit_nanos IS NULL AND (model_limits IS NULL OR json_array_length(model_limits) = 0)"
OF_0028 = {"limited": "spend_limit_nanos IS NOT NULL", "unlimited": "spend_limit_nanos IS NULL"}
OF_0029 = {"with_limit": f"({LIMITED})", "without_limit": UNLIMITED}
FOUND = {
    "limited": ["key_capped"],
    "unlimited": ["key_free", "key_limited", "key_was_limited"],
    "with_limit": ["key_capped", "key_limited"],
    "without_limit": ["key_free", "key_was_limited"],
}


def finds_by(name: str, only: str) -> list[str]:
    """The keys of a list that the index of this name is for. Fails where the database does not go by it."""
    asked = f"FROM proxy_keys WHERE org_id = 'org_1' AND {only} AND revoked_at IS NULL ORDER BY created_at, id"
    with db.engine.connect() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if db.engine.dialect.name == "postgresql":
            # With so few rows it would rather read them all.
            connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
            connection.execute(sa.text("SET LOCAL enable_sort = off"))
            explain = "EXPLAIN"
        assert f"ix_proxy_keys_{name} " in str(connection.execute(sa.text(f"{explain} SELECT id {asked}")).all())
        return list(connection.scalars(sa.text(f"SELECT id {asked}")))


# SQLAlchemy cannot read an index of an expression back from SQLite, and says so.
@pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index ix_proxy_keys_org_id_name")
@pytest.mark.parametrize("way", [("0028", "head"), ("0028", "head", "0028", "head")])
def test_lists_have_their_indexes_on_the_way_and_back(empty: Flask, way: tuple[str, ...]) -> None:
    directory = empty.extensions["migrate"].directory
    with empty.app_context():
        flask_migrate.upgrade(directory, revision=way[0])
        with writing() as session:
            session.add(Organization(id="org_1", name="o", created_at=AT))
            session.flush()
            for key_id, limits in sorted({**KEYS, "key_capped": None}.items()):
                session.add(
                    ProxyKey(id=key_id, org_id="org_1", name="k", prefix=key_id, model_limits=limits, created_at=AT,
                             created_by="t", spend_limit_nanos=1 if key_id == "key_capped" else None)
                )  # fmt: skip
        for at, revision in zip(way, (*way[1:], None), strict=True):
            lists, others = (OF_0029, OF_0028) if at == "head" else (OF_0028, OF_0029)
            assert {name: finds_by(name, only) for name, only in lists.items()} == {name: FOUND[name] for name in lists}
            there = {index["name"] for index in sa.inspect(db.engine).get_indexes("proxy_keys")}
            assert not there & {f"ix_proxy_keys_{name}" for name in others}
            if revision is not None:
                (flask_migrate.upgrade if revision == "head" else flask_migrate.downgrade)(directory, revision=revision)

"""How often an organisation was refused on which day, beside what its keys were."""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledger_kit import NOON
from refusal_kit import KEY, PAUSED, refused
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.refusal_importer import RefusalImporter
from proxyd.accounting.refusal_log import RefusalLog
from shared.models import OrganizationRefusals


def test_it_works(tmp_path: Path, any_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when what was refused before midnight is taken after it, and when the first try to write it failed."""
    a_day = 86_400
    own = RefusalLog(tmp_path / "a")
    for moment, key, deny in (
        (1, KEY, PAUSED), (2, replace(KEY, id="key_2"), PAUSED), (3, replace(KEY, id="key_3", org_id="org_2"), PAUSED),
    ):  # fmt: skip
        own.note(key, refused(moment, deny))
    own.hand_over()
    own.note(KEY, refused(a_day))
    own.hand_over()
    importer = RefusalImporter(tmp_path / "a", any_engine, time.monotonic)
    with monkeypatch.context() as patched:
        patched.setattr(importer, "_by_day", text("insert into nowhere values (:org_id)"))
        with pytest.raises(SQLAlchemyError):
            importer.import_all()
    importer.import_all()
    importer.import_all()
    other = RefusalLog(tmp_path / "b")
    other.note(KEY, refused(a_day + 1))
    other.hand_over()
    RefusalImporter(tmp_path / "b", any_engine, time.monotonic).import_all()
    table = OrganizationRefusals.__table__
    with any_engine.connect() as connection:
        rows = connection.execute(select(table).order_by(table.c.org_id, table.c.day)).all()
    first = datetime.fromtimestamp(NOON, UTC).date()
    assert [tuple(row) for row in rows] == [
        ("org_1", first, "key_paused", 2),
        ("org_1", first + timedelta(days=1), "key_paused", 2),
        ("org_2", first, "key_paused", 1),
    ]


def test_days_are_those_of_the_organisations_zone(tmp_path: Path, any_engine: Engine) -> None:
    """Noon of UTC is midnight in Kamchatka; a zone that nobody knows counts in UTC."""
    with any_engine.begin() as connection:
        for org_id, zone in (("org_1", "Asia/Kamchatka"), ("org_2", "Mars/Olympus_Mons"), ("org_3", "UTC")):
            connection.execute(
                text(
                    "insert into organizations (id, name, created_at, policy_version, time_zone) "
                    f"values ('{org_id}', 'A', '2026-01-01', 1, '{zone}') "
                    f"on conflict (id) do update set time_zone = '{zone}'"
                )
            )
    own = RefusalLog(tmp_path / "a")
    for org_id in ("org_1", "org_2", "org_3", "org_unknown"):
        for moment in (-1, 0):
            own.note(replace(KEY, id=f"key of {org_id} {moment}", org_id=org_id), refused(moment, PAUSED))
    own.hand_over()
    RefusalImporter(tmp_path / "a", any_engine, time.monotonic).import_all()
    table = OrganizationRefusals.__table__
    with any_engine.connect() as connection:
        rows = connection.execute(select(table).order_by(table.c.org_id, table.c.day)).all()
    noon = datetime.fromtimestamp(NOON, UTC).date()
    assert [tuple(row) for row in rows] == [
        ("org_1", noon, "key_paused", 1),
        ("org_1", noon + timedelta(days=1), "key_paused", 1),
        *((org_id, noon, "key_paused", 2) for org_id in ("org_2", "org_3", "org_unknown")),
    ]

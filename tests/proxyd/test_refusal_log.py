"""Refusals on their way from workers to the database: counted, bounded, without secrets, and never twice."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import gevent
import pytest
from accounting_kit import Router
from ledger_kit import NOON
from refusal_kit import KEY, refused
from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting import refusal_log
from proxyd.accounting.refusal_importer import RefusalImporter
from proxyd.accounting.refusal_log import MOST_ENTRIES, MOST_FILES, RefusalLog
from shared import keys
from shared.models import Refusal
from shared.policy import Deny, Reason
from shared.secret_text import masked

Rows = Callable[[], list[Any]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "refusals"


@pytest.fixture
def counted(folder: Path) -> RefusalLog:
    return RefusalLog(folder)


@pytest.fixture
def importer(folder: Path, any_engine: Engine) -> RefusalImporter:
    return RefusalImporter(folder, any_engine, time.monotonic)


@pytest.fixture
def rows(any_engine: Engine) -> Rows:
    def rows() -> list[Any]:
        table = Refusal.__table__
        with any_engine.connect() as connection:
            return list(connection.execute(select(table).order_by(table.c.key_id, table.c.reason)))

    return rows


def test_it_works(counted: RefusalLog, importer: RefusalImporter, rows: Rows) -> None:
    for number in range(1, 4):
        counted.note(KEY, refused(number))
    counted.note(
        KEY, refused(9, Deny(Reason.RATE_LIMITED, {"prefix": "p", "rate_limit_rpm": 2, "retry_after_seconds": 5}))
    )
    counted.hand_over()
    importer.import_all()
    paused, limited = rows()
    assert (paused.key_id, paused.reason, paused.org_id, paused.count) == ("key_1", "key_paused", "org_1", 3)
    assert (paused.last_at.timestamp(), paused.status, paused.model) == (NOON + 3, 403, "gpt-4o")
    assert (paused.client_ip, paused.request_id) == ("203.0.113.7", "req_3")
    assert paused.sentence.startswith("The proxy key sk-proxy-a1b2... is paused.")
    assert (limited.reason, limited.count) == ("rate_limited", 1)
    importer.import_all()
    assert [row.count for row in rows()] == [3, 1]


def test_sums_of_several_machines_add_up_and_the_latest_tells_the_rest(
    tmp_path: Path, any_engine: Engine, rows: Rows
) -> None:
    for machine, moment in (("a", 5), ("b", 2), ("a", 3)):
        own = RefusalLog(tmp_path / machine)
        own.note(KEY, refused(moment, client_ip=f"192.0.2.{moment}"))
        own.note(KEY, refused(moment, client_ip=f"192.0.2.{moment}"))
        own.hand_over()
        RefusalImporter(tmp_path / machine, any_engine, time.monotonic).import_all()
    (row,) = rows()
    assert (row.count, row.client_ip, row.request_id) == (6, "192.0.2.5", "req_5")


def test_several_files_are_one_sum(counted: RefusalLog, importer: RefusalImporter, rows: Rows) -> None:
    for number in (4, 2):
        counted.note(KEY, refused(number))
        counted.hand_over()
    importer.import_all()
    (row,) = rows()
    assert (row.count, row.request_id) == (2, "req_4")


def test_nothing_is_written_where_nothing_was_refused(counted: RefusalLog, folder: Path) -> None:
    counted.hand_over()
    assert not folder.exists()


def test_while_nobody_takes_them_files_do_not_grow_and_nothing_is_lost(
    counted: RefusalLog, folder: Path, importer: RefusalImporter, rows: Rows
) -> None:
    for number in range(3 * MOST_FILES):
        counted.note(KEY, refused(number))
        counted.hand_over()
    assert len(list(folder.iterdir())) == MOST_FILES
    importer.import_all()
    assert list(folder.iterdir()) == []
    counted.hand_over()
    importer.import_all()
    assert [row.count for row in rows()] == [3 * MOST_FILES]


def test_a_flood_costs_next_to_nothing_and_grows_nothing(
    counted: RefusalLog, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Ten thousand refusals take less than a tenth of a second of the worker; two microseconds each are usual."""
    flood = [refused(number) for number in range(10_000)]
    begun = time.process_time()
    for one in flood:
        counted.note(KEY, one)
    assert time.process_time() - begun < 0.1
    for number in range(3 * MOST_ENTRIES):
        counted.note(replace(KEY, id=f"key_{number:06}"), flood[0])
    counted.hand_over()
    (file,) = folder.iterdir()
    assert file.read_bytes().count(b'"key_id"') == MOST_ENTRIES
    assert "are not counted" in caplog.text


def test_others_have_their_turn_while_a_large_file_is_made(counted: RefusalLog) -> None:
    for number in range(MOST_ENTRIES):
        counted.note(replace(KEY, id=f"key_{number:06}"), refused())
    turns = 0

    def other() -> None:
        nonlocal turns
        while not handing.dead:
            turns += 1
            gevent.sleep(0)

    handing = gevent.spawn(counted.hand_over)
    gevent.spawn(other).join()
    assert turns >= MOST_ENTRIES / refusal_log._AT_ONCE


@pytest.mark.parametrize(
    "secret",
    [
        keys.mint(keys.PROXY_TAG).raw, keys.mint(keys.MANAGEMENT_TAG).raw.upper(), keys.mint(keys.PROXY_TAG).raw.replace("-", "\u2010"),
        "sk-ant-api03-AbCdEfGhIjKlMnOp_-x", "sk-AbCdEfGhIjKlMnOpQrStUvWx", "AIzaSyA1234567890abcdefghijklmnopqrstu",
        "AQ." + "Ab8" * 15, "gsk_" + "q1" * 26, "prod_xai-" + "Z9" * 40, "AKIA" + "ABCDEFGH12345678", "whsec_" + "a1B2" * 8,
    ],
)  # fmt: skip
def test_no_secret_is_written_down(
    counted: RefusalLog, folder: Path, importer: RefusalImporter, rows: Rows, secret: str
) -> None:
    named = Deny(Reason.MODEL_NOT_ALLOWED, {"prefix": KEY.prefix, "model": secret, "allowed_models": ["a*"]})
    counted.note(KEY, refused(deny=named, model=f"models/{secret}"))
    counted.hand_over()
    (file,) = folder.iterdir()
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    importer.import_all()
    (row,) = rows()
    assert (row.model, secret in row.sentence) == (f"models/{masked(secret)}", False)
    assert masked(secret) in row.sentence
    assert secret[-20:] not in f"{row.model}{row.sentence}"
    assert "sk-proxy-a1b2..." in row.sentence


def test_what_no_database_takes_is_left_out(counted: RefusalLog, importer: RefusalImporter, rows: Rows) -> None:
    odd = Deny(Reason.INVALID_REQUEST, {"detail": "a\0b\ud800c" + "x" * 5_000})
    counted.note(KEY, refused(deny=odd, model="m\0\ud800" + "x" * 300, client_ip=None))
    counted.hand_over()
    importer.import_all()
    (row,) = rows()
    assert row.sentence.startswith("The request is not valid: ab?cxxx")
    assert (len(row.sentence), len(row.model), row.model[:3]) == (2_000, 255, "m?x")


def test_what_cannot_be_written_is_written_later_once(
    counted: RefusalLog, folder: Path, importer: RefusalImporter, rows: Rows
) -> None:
    folder.write_text("in the way")
    counted.note(KEY, refused(1))
    counted.hand_over()
    counted.note(KEY, refused(2))
    counted.hand_over()
    folder.unlink()
    counted.hand_over()
    importer.import_all()
    (row,) = rows()
    assert (row.count, row.request_id) == (2, "req_2")


def test_a_database_that_refuses_loses_none_and_counts_none_twice(
    counted: RefusalLog, folder: Path, any_engine: Engine, importer: RefusalImporter, rows: Rows
) -> None:
    table: Any = Refusal.__table__
    table.drop(any_engine)
    for number in (1, 2):
        counted.note(KEY, refused(number))
        counted.hand_over()
        with pytest.raises(SQLAlchemyError):
            importer.import_all()
    table.create(any_engine)
    importer.import_all()
    (row,) = rows()
    assert (row.count, row.request_id) == (2, "req_2")
    assert list(folder.iterdir()) == []


def test_a_database_that_is_away_leaves_the_files_as_they_are(
    counted: RefusalLog, folder: Path, tmp_path: Path
) -> None:
    from shared import db

    engine = db.create(f"sqlite:///{tmp_path / 'gone.db'}")
    engine.dispose()
    (tmp_path / "gone.db").mkdir()
    counted.note(KEY, refused())
    counted.hand_over()
    with pytest.raises(SQLAlchemyError):
        RefusalImporter(folder, engine, time.monotonic).import_all()
    assert len(list(folder.iterdir())) == 1


def test_a_damaged_file_keeps_no_other_waiting(
    counted: RefusalLog, folder: Path, importer: RefusalImporter, rows: Rows
) -> None:
    folder.mkdir()
    (folder / "0.json").write_text('[{"key_id": 1')
    (folder / "1.json").write_text('[{"key": "of another release"}]')
    counted.note(KEY, refused())
    counted.hand_over()
    importer.import_all()
    assert [row.count for row in rows()] == [1]
    assert list(folder.iterdir()) == []


def test_a_draft_of_who_was_killed_goes_and_a_young_one_stays(folder: Path, importer: RefusalImporter) -> None:
    folder.mkdir()
    old, young = folder / "old.draft", folder / "young.draft"
    for path in (old, young):
        path.write_text("[")
    os.utime(old, (1, 1))
    importer.import_all()
    assert list(folder.iterdir()) == [young]


def test_a_worker_that_ends_hands_over_what_is_left(
    counted: RefusalLog, folder: Path, importer: RefusalImporter, rows: Rows
) -> None:
    counted.start()
    for number in range(MOST_FILES + 1):
        counted.note(KEY, refused(number))
        counted.hand_over()
    counted.stop()
    importer.import_all()
    assert [row.count for row in rows()] == [MOST_FILES + 1]


def test_it_hands_over_by_itself(counted: RefusalLog, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusal_log, "HAND_OVER_SECONDS", 0.001)
    counted.start()
    counted.note(KEY, refused())
    with gevent.Timeout(5):
        while not list(folder.glob("*.json")):
            gevent.sleep(0.001)
    counted.stop()


def test_it_is_imported_once_a_second(folder: Path, any_engine: Engine, rows: Rows) -> None:
    at = 100.0
    importer = RefusalImporter(folder, any_engine, lambda: at)
    own = RefusalLog(folder)
    for moment, count in ((100.0, 1), (100.9, 1), (101.0, 3)):
        at = moment
        own.note(KEY, refused())
        own.hand_over()
        importer.import_due()
        assert [row.count for row in rows()] == [count]


def test_the_ledger_writer_adds_them_up_in_its_rounds_and_before_it_ends(router: Router) -> None:
    counted = RefusalLog(router.directory / "refusals")

    def count() -> int | None:
        with router.engine.connect() as connection:
            return connection.scalar(select(Refusal.__table__.c["count"]))

    counted.note(KEY, refused())
    counted.hand_over()
    assert router.rounds() == 0
    assert count() == 1
    counted.note(KEY, refused())
    counted.hand_over()
    router.writer.leave()
    assert count() == 2

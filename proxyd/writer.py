"""`python -m proxyd.writer`: the ledger writer of a data directory, started and kept by the pool's supervisor.

It says `ready` on standard output once everything may begin; a reason, on standard error, when it cannot.
"""

import errno
import fcntl
import gc
import logging
import os
import signal
import sys
import time
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.ledger_writer import LedgerWriter
from proxyd.accounting.machine import machine_of
from proxyd.accounting.old_journals import migrate
from proxyd.monitoring.monitor import Monitor, watch
from proxyd.writer_process import OUTPUT_VARIABLE
from shared import counters, db
from shared.config import SettingError, Settings
from shared.counters import WRITER_LOCK, CountersUnavailable
from shared.database_probe import LEDGER_SETTING, ledger_setting, reason_of

log = logging.getLogger("proxyd.writer")

# Of what lies in a data directory; 1 had a SQLite file for each journal, 2 journals of format 1, and so on.
FORMAT = 5
TAKE_OVER_SECONDS = 15.0  # for the one before us to end
ROUND_SECONDS = 0.25  # between rounds: what ends meanwhile shares a transaction
POLL_SECONDS = 0.02  # between looks whether somebody waits for new counters
HURRY_SECONDS = 0.001  # between rounds while somebody does
LAST_ROUNDS_SECONDS = 8.0
COLLECT_AFTER = (50_000, 20, 20)  # objects, and collections of the generation before


def main() -> int:
    """Exit status 2 and one sentence when it cannot begin."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = Settings.from_env()
        lock = _lock(settings.data_dir)
        _check_format(settings.data_dir)
        shared_counters = counters.connect(settings.limits_url)
        engine = db.create(settings.ledger_database_url, temporary_in_memory=True)
        database, ledger = AccountingDatabase(engine), Ledger(engine)
        shared_counters.refuse_foreign(database.installation())
        _refuse_two_databases(settings, database)
        migrate(settings.data_dir / "journals", ledger)
        monitor = Monitor()
        writer = LedgerWriter(
            settings.data_dir,
            machine_of(settings.data_dir),
            shared_counters,
            database,
            ledger,
            observer=monitor,
        )
        watch(monitor, settings, engine, lambda: writer.status, _standard_output())
        writer.start()
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except SQLAlchemyError as error:
        reason = reason_of(error, settings.ledger_database_url)
        sys.stderr.write(f"{ledger_setting(settings)}: the database cannot be used: {reason}.\n")
        return 2
    except CountersUnavailable as error:
        sys.stderr.write(f"ROUTER_LIMITS_URL: the counters cannot be used: {error}.\n")
        return 2
    except OSError as error:
        sys.stderr.write(f"ROUTER_DATA_DIR: the accounting cannot begin: {error}.\n")
        return 2
    # A round makes some ten thousand values that go at its end and hold no cycles. To look through all that was loaded
    # at the start whenever so many were made took a sixth of its time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
    _run(writer, monitor)
    os.close(lock)
    return 0


def _standard_output() -> int:
    """That of the supervisor, which has handed us a copy: ours is a pipe on which it waits for a word."""
    given = os.environ.get(OUTPUT_VARIABLE, "")
    return int(given) if given.isdigit() else sys.stdout.fileno()


def _refuse_two_databases(settings: Settings, database: AccountingDatabase) -> None:
    """Raise SettingError if workers would read one database and we write another."""
    if settings.ledger_database_url == settings.database_url:
        return
    workers = db.create(settings.database_url)
    try:
        if AccountingDatabase(workers).installation() != database.installation():
            raise SettingError(f"{LEDGER_SETTING} names another database than DATABASE_URL.")
    finally:
        workers.dispose()


def _check_format(data_dir: Path) -> None:
    """Raise SettingError when a newer release has worked in this data directory; leave our mark in it."""
    path = data_dir / "format"
    try:
        found = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        found = ""
    if found.isdigit() and int(found) > FORMAT:
        raise SettingError(f"ROUTER_DATA_DIR: {data_dir} is of a newer version of Enterprise Router (format {found}).")
    if found != str(FORMAT):
        path.write_text(f"{FORMAT}\n", encoding="ascii")


def _lock(data_dir: Path) -> int:
    """The lock of the one ledger writer a data directory has. Raises OSError when another one keeps it."""
    lock = os.open(data_dir / WRITER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + TAKE_OVER_SECONDS
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise OSError(errno.EBUSY, "another router is running on this data directory") from None
            time.sleep(0.02)
        else:
            return lock


def _run(writer: LedgerWriter, monitor: Monitor) -> None:
    """Rounds, until we are told to end or the supervisor is gone; then the last ones."""
    told: list[int] = []
    for number in (signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda number, _: told.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the supervisor tells us when the workers are gone
    supervisor = os.getppid()
    monitor.keep()
    try:
        os.write(sys.stdout.fileno(), b"ready\n")
    except BrokenPipeError:
        told.append(signal.SIGPIPE)  # the supervisor was gone before we saw who it is
    while not told and os.getppid() == supervisor:
        writer.round()
        monitor.keep()
        ends = time.monotonic() + ROUND_SECONDS
        while time.monotonic() < ends and not writer.rebuild_pending and not told:
            time.sleep(POLL_SECONDS)
        if writer.rebuild_pending:
            time.sleep(HURRY_SECONDS)
    deadline = time.monotonic() + LAST_ROUNDS_SECONDS
    while writer.round() and time.monotonic() < deadline:
        pass
    writer.leave()
    monitor.close()


if __name__ == "__main__":
    sys.exit(main())

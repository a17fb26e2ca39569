"""`flask --app wsgi db copy-from URL`: an installation moves from its SQLite file to the PostgreSQL of the settings.

Everything is one transaction on each side: the source is locked against writing while it is read, and the target holds
all of it or nothing. Rows go through one at a time, from a cursor to PostgreSQL's COPY, so that memory does not grow
with the ledger. The source is left as it is.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    DDL,
    JSON,
    Connection,
    Engine,
    Table,
    Text,
    create_engine,
    exists,
    func,
    select,
    text,
    type_coerce,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from shared import db
from shared.config import SettingError, Settings
from shared.config.storage import database_url
from shared.counters import is_in_use
from shared.database_probe import check_database, reason_of
from shared.models import AccountingState, HandOver, JournalState, KeySearch, ProviderCredential, Webhook, metadata
from shared.sealing import Sealer, UnsealError

ROWS_AT_ONCE = 1000
LOCK_SECONDS = 5
# SQLAlchemy has no types for these.
_REST = DDL("ALTER TABLE %(fullname)s DISABLE TRIGGER USER")  # type: ignore[no-untyped-call]
_WORK = DDL("ALTER TABLE %(fullname)s ENABLE TRIGGER USER")  # type: ignore[no-untyped-call]
_SOURCE = "The source"  # stands where messages about a setting name it
_UPGRADE = "flask --app wsgi db upgrade"


class CopyRefused(Exception):
    """Nothing was copied; the text is one sentence, without any password."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What was done."""

    rows: dict[str, int]  # by table
    open_journals: int  # of which the ledger may lack some
    sealed_by_others: int  # what lies sealed that ROUTER_ENCRYPTION_KEY does not open

    def lines(self) -> Iterator[str]:
        """What is told at the end."""
        yield f"Copied {sum(self.rows.values())} rows of {len(self.rows)} tables; the source is as it was."
        if self.open_journals:
            yield (
                f"{self.open_journals} journals may hold requests that are not in the ledger yet: start the proxy on "
                "the data directory they lie in."
            )
        if self.sealed_by_others:
            yield (
                f"{self.sealed_by_others} provider credentials, secrets and addresses of webhooks or secrets behind "
                "links cannot be opened: set ROUTER_ENCRYPTION_KEY to what it was, or bring the file encryption_key of "
                "the old data directory."
            )
        yield "Next: start the proxy, then check all of it with `flask --app wsgi ledger verify`."


def copy_from(url: str, settings: Settings, migrations: Path, tell: Callable[[str, int], None] | None = None) -> Copied:
    """Copy every table of the SQLite database at `url` into the empty database of the settings.

    `tell` hears of each table that is done. Raises CopyRefused, and SettingError for a URL that makes no sense or a
    target that does not answer; then the target is as it was.
    """
    source_url, file = _source(url, settings)
    if settings.database_url.startswith("sqlite"):
        raise CopyRefused(
            "DATABASE_URL names no PostgreSQL; from one SQLite file to another, sqlite3's own .backup is the way."
        )
    for directory in {file.parent, settings.data_dir}:
        if is_in_use(directory):
            raise CopyRefused(f"A router is running on {directory}; stop it, and its dashboard too.")
    check_database(settings)
    source, target = db.create(source_url), _patient(settings.database_url)
    try:
        with _reading(source, file) as old, _writing(target, settings.database_url) as new:
            heads = set(ScriptDirectory(str(migrations)).get_heads())
            _refuse_other_versions(old, new, heads)
            _refuse_what_is_there(new)
            rows = {}
            with _triggers_at_rest(new):
                for table in metadata().sorted_tables:
                    rows[table.name] = _copy(table, old, new)
                    if tell is not None:
                        tell(table.name, rows[table.name])
            _fold_searched_texts(new)
            _set_sequences(new)
            open_journals = new.scalar(select(func.count()).where(JournalState.closed_at.is_(None))) or 0
            return Copied(rows, open_journals, _sealed_by_others(new, settings))
    finally:
        source.dispose()
        target.dispose()


def _source(url: str, settings: Settings) -> tuple[str, Path]:
    """The URL of the source and its file. No message repeats the URL: it may hold a password."""
    if not url.startswith("sqlite:"):
        try:
            same = database_url(_SOURCE, url) == settings.database_url
        except SettingError:
            same = False
        if same:
            raise CopyRefused("The source is the database of DATABASE_URL itself.")
        raise CopyRefused(
            "The source must be sqlite:/// and the path of a file; PostgreSQL is moved by pg_dump and pg_restore."
        )
    found = database_url(_SOURCE, url, ours=False)
    if found == settings.database_url:
        raise CopyRefused("The source is the database of DATABASE_URL itself.")
    file = Path(found.removeprefix("sqlite:///"))
    if not file.exists():
        raise CopyRefused(f"The source cannot be read: there is no file {file}.")
    return found, file


def _patient(url: str) -> Engine:
    """An engine without the deadlines that requests have, or the role may have: copying a long ledger takes minutes."""
    deadlines = f"-c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout={LOCK_SECONDS * 1000}"
    arguments = {"options": deadlines, "connect_timeout": db.CONNECT_SECONDS}
    return create_engine(url, hide_parameters=True, poolclass=NullPool, connect_args=arguments)


@contextmanager
def _reading(engine: Engine, file: Path) -> Iterator[Connection]:
    """The source as it is at one moment. A transaction that may write keeps a dashboard from changing it meanwhile."""
    try:
        with engine.connect().execution_options(writes=True) as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()
    except (SQLAlchemyError, ValueError) as error:  # the latter of a value that is none of its column's
        raise CopyRefused(f"The source {file} cannot be read: {reason_of(error, str(engine.url))}.") from None


@contextmanager
def _writing(engine: Engine, url: str) -> Iterator[Connection]:
    try:
        with engine.connect() as connection, connection.begin():
            yield connection
    except SQLAlchemyError as error:
        if type(getattr(error, "orig", None)).__module__.startswith("sqlite3"):
            raise  # of the source: `_reading` tells it
        raise CopyRefused(f"DATABASE_URL: nothing was copied: {reason_of(error, url)}.") from None


def _refuse_other_versions(old: Connection, new: Connection, heads: set[str]) -> None:
    before, now = (set(MigrationContext.configure(side).get_current_heads()) for side in (old, new))
    if now != heads:
        raise CopyRefused(f"The database of DATABASE_URL has not the tables of this version; run `{_UPGRADE}` first.")
    if before != heads:
        raise CopyRefused(
            "The source is of another version than this one; start this version on it once, or run "
            f"`{_UPGRADE}` with DATABASE_URL naming it, and copy then."
        )


def _refuse_what_is_there(new: Connection) -> None:
    """Keep others out and look whether anything stands in the target but what the migrations put there."""
    names = ", ".join(f'"{table.name}"' for table in metadata().sorted_tables)
    new.exec_driver_sql(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
    for table in metadata().sorted_tables:
        query = select(exists(select(text("1")).select_from(table)))
        if table is AccountingState.__table__:
            query = select(exists().where(AccountingState.generation != 0))
        if new.scalar(query):
            raise CopyRefused(
                f"The database of DATABASE_URL is not empty: there are rows in {table.name}; name an empty one."
            )
    new.execute(AccountingState.__table__.delete())  # type: ignore[attr-defined] # a Table, as mapped classes have it


@contextmanager
def _triggers_at_rest(new: Connection) -> Iterator[None]:
    """What triggers keep is copied as it is, like everything else; so they keep and refuse nothing meanwhile."""
    for table in metadata().sorted_tables:
        new.execute(_REST.against(table))
    yield
    for table in metadata().sorted_tables:
        new.execute(_WORK.against(table))


def _copy(table: Table, old: Connection, new: Connection) -> int:
    """All rows of a table; how many. JSON goes over as the text it is, so that null and nothing stay two things."""
    columns = [
        type_coerce(column, Text).label(column.name) if isinstance(column.type, JSON) else column
        for column in table.columns
    ]
    quoted = ", ".join(f'"{column.name}"' for column in table.columns)
    rows = old.execution_options(yield_per=ROWS_AT_ONCE).execute(select(*columns))
    count = 0
    driver: Any = new.connection.driver_connection
    try:
        with driver.cursor() as cursor, cursor.copy(f'COPY "{table.name}" ({quoted}) FROM STDIN') as sink:
            for row in rows:
                sink.write_row(row)
                count += 1
    except new.dialect.loaded_dbapi.Error as error:  # the driver's own: COPY does not go through SQLAlchemy
        reason = reason_of(error, new.engine.url.render_as_string(hide_password=False))
        raise CopyRefused(f"Nothing was copied, because of {table.name}: {reason}.") from None
    there, here = (side.scalar(select(func.count()).select_from(table)) for side in (old, new))
    if not count == there == here:
        raise CopyRefused(f"Nothing was copied: {table.name} has {there} rows in the source, and {here} arrived.")
    return count


def _fold_searched_texts(new: Connection) -> None:
    """Put what is searched into small letters as PostgreSQL has them: SQLite leaves all but ASCII as it is."""
    small = func.lower(KeySearch.text)
    new.execute(update(KeySearch).where(KeySearch.text != small).values(text=small))


def _set_sequences(new: Connection) -> None:
    """Let numbers that the database makes itself begin above those that came along."""
    for table in metadata().sorted_tables:
        for column in table.columns:
            name = new.scalar(select(func.pg_get_serial_sequence(table.name, column.name)))
            highest = None if name is None else new.scalar(select(func.max(column)))
            if highest is not None:
                new.execute(select(func.setval(name, highest)))


def _sealed_by_others(new: Connection, settings: Settings) -> int:
    sealer, closed = Sealer(settings.encryption_keys), 0
    columns = (ProviderCredential.sealed, Webhook.sealed, Webhook.url_sealed, HandOver.sealed)
    for sealed in chain.from_iterable(new.scalars(select(column)) for column in columns):
        try:
            sealer.unseal(sealed)
        except UnsealError:
            closed += 1
    return closed

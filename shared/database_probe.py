"""Whether the database answers (see `shared.probe`). A file needs none of this: `shared.config` has looked at it."""

import sys
import time
from pathlib import Path

from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from shared import probe
from shared.config import Settings
from shared.models import REVISION
from shared.probe import Finding

# The oldest that its makers still mend, and the one that is tested.
OLDEST = 15
LEDGER_SETTING = "ROUTER_LEDGER_DATABASE_URL"
_FILLED = "filled"
# How the server says that it starts up, recovers or shuts down. It is waited for, within what `probe` allows.
_NOT_YET = "the database system is"
_PATIENCE_SECONDS = 7.0
_PAUSE_SECONDS = 0.2
_FACTS = text(
    "SELECT pg_is_in_recovery() AS standby, current_setting('default_transaction_read_only') = 'on' AS read_only, "
    "current_setting('server_encoding') AS encoding, current_schema() AS schema, "
    "has_schema_privilege(current_schema(), 'CREATE') AS may_create, "
    "to_regclass('alembic_version') IS NOT NULL AS filled, "
    "has_table_privilege(to_regclass('alembic_version'), 'SELECT') AS may_read"
)


def check_database(settings: Settings, *, filled: bool = False) -> None:
    """Return when the database can be used. Raises SettingError with a sentence that repeats no password.

    `filled`: it has to have the tables of this version already, as for a proxy, which does not make them. Then the
    ledger writer's own way to it, if there is one, is tried as well.
    """
    urls = {settings.database_url: "DATABASE_URL"}
    if filled:
        urls = {settings.ledger_database_url: LEDGER_SETTING} | urls
    for url, setting in urls.items():
        if not url.startswith("sqlite"):
            asked = [_FILLED] if filled else []
            probe.ask("shared.database_probe", setting, url, f"PostgreSQL at {_place(url)}", *asked)


def is_absent(url: str) -> bool:
    """Whether it is a file that is not there. Whoever connects to it makes an empty one."""
    parts = make_url(url)
    return parts.get_backend_name() == "sqlite" and not Path(parts.database or "").exists()


def ledger_setting(settings: Settings) -> str:
    """The variable that says how whoever writes the ledger reaches it."""
    return "DATABASE_URL" if settings.ledger_database_url == settings.database_url else LEDGER_SETTING


def reason_of(error: BaseException, url: str) -> str:
    """What a database error says, in one line without full stop and without the password of `url`."""
    line = word_of(error)
    parts = make_url(url)
    hidden = [parts.password, *(parts.query[name] for name in _passwords(parts))]
    for secret in filter(None, hidden):
        line = line.replace(str(secret), "***")
    return line


def word_of(error: BaseException) -> str:
    """What a database error says in its first line, without full stop; those behind it may hold values of a row."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    # The driver tells every attempt; the last line of the first one is the server's own word.
    line = next((line for line in lines if "FATAL" in line or "failed:" in line), lines[0])
    return " ".join(line.split()).rstrip(".")


def shown_url(url: str) -> str:
    """The URL as people may see it: without passwords, wherever in it they stand."""
    parts = make_url(url)
    return parts.difference_update_query(_passwords(parts)).render_as_string(hide_password=True)


def _passwords(parts: URL) -> list[str]:
    """The parameters of libpq that hold or name one."""
    return [name for name in parts.query if "pass" in name]


def _place(url: str) -> str:
    parts = make_url(url)
    host = parts.host or str(parts.query.get("host", "")) or "the local socket"
    return f"{host}:{parts.port}" if parts.port else host


def finding_of(url: str, *, filled: bool = False) -> Finding:
    """What keeps the database from being used. One that is about to accept connections is waited for."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        found = _look(url, filled=filled)
        if _NOT_YET not in (found.problem or "") or time.monotonic() >= deadline:
            return found
        time.sleep(_PAUSE_SECONDS)


def _look(url: str, *, filled: bool) -> Finding:
    try:
        # Else what a database without an encoding says comes as bytes, which nobody here expects.
        engine = create_engine(url, poolclass=NullPool, connect_args={"client_encoding": "utf8"})
        with engine.connect() as connection:
            return Finding(_problem_with(connection, filled=filled))
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        # Of the driver itself come ImportError (it or libpq is missing) and, for odd options, the last two.
        return Finding(reason_of(error, url))


def _problem_with(connection: Connection, *, filled: bool) -> str | None:
    version = int((connection.dialect.server_version_info or (0,))[0])
    if version < OLDEST:
        return f"it is version {version}, and needs to be {OLDEST} or newer"
    facts = connection.execute(_FACTS).one()
    if facts.standby:
        return "it is a standby, which cannot be written to; name the primary"
    if facts.read_only:
        return "default_transaction_read_only is on, so nothing can be written"
    if facts.encoding != "UTF8":
        return f"its encoding is {facts.encoding}, and needs to be UTF8"
    if facts.schema is None:
        return "the user may use no schema there that its search_path names"
    if not facts.filled:
        if filled:
            return "it has no tables yet; run `flask --app wsgi bootstrap` first"
        return None if facts.may_create else f"there are no tables yet, and the user may make none in {facts.schema}"
    if not filled:
        return None
    if not facts.may_read:
        return "the user has no rights to its tables; see the GRANT statements in docs/deploy.md"
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) or ""
    # Newer tables are served: an upgrade migrates first, and takes nothing away that the release before needs.
    return "its tables are of an older release; run `flask --app wsgi bootstrap` first" if found < REVISION else None


if __name__ == "__main__":
    asks_for_tables = _FILLED in sys.argv[2:]
    sys.exit(probe.answer(lambda url: finding_of(url, filled=asks_for_tables)))

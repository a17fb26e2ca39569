"""Whether the database answers (see `shared.probe`). A file needs none of this: `shared.config` has looked at it."""

import sys

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from shared import probe
from shared.config import Settings

_SETTING = "DATABASE_URL"


def check_database(settings: Settings) -> None:
    """Return when the database answers. Raises SettingError with a sentence that repeats no password."""
    url = settings.database_url
    if not url.startswith("sqlite"):
        probe.ask("shared.database_probe", _SETTING, url, f"PostgreSQL at {_place(url)}")


def reason_of(error: BaseException, url: str) -> str:
    """What a database error says, in one line without full stop and without the password of `url`."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines() or [type(error).__name__]
    # The driver tells every attempt; the last line of the first one is the server's own word.
    line = next((line for line in lines if "FATAL" in line or "failed:" in line), lines[0])
    parts = make_url(url)
    hidden = [parts.password, *(value for name, value in parts.query.items() if "pass" in name)]
    for secret in filter(None, hidden):
        line = line.replace(str(secret), "***")
    return " ".join(line.split()).rstrip(".")


def _place(url: str) -> str:
    parts = make_url(url)
    host = parts.host or str(parts.query.get("host", "")) or "the local socket"
    return f"{host}:{parts.port}" if parts.port else host


def problem_of(url: str) -> str | None:
    """What keeps the database from being used; None: it answers."""
    try:
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        # Of the driver itself come ImportError (it or libpq is missing) and, for odd options, the last two.
        return reason_of(error, url)
    return None


if __name__ == "__main__":
    sys.exit(probe.answer(_SETTING, problem_of))

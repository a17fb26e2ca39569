"""Whether the database answers, found out before anything is started on it, and within ten seconds.

The question is asked by a process of its own (`python -m shared.database_probe`), which the system's alarm clock ends:
a server that accepts and stays silent, a resolver that hangs or a firewall that swallows packets can hold a thread for
ever, each in another place of the C code below us. The process that asks also keeps clear of the driver, and so may
fork and patch afterwards as it likes. A file needs none of this: `shared.config` has looked at it.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from shared.config import SettingError, Settings

ANSWER_SECONDS = 10
_URL = "DATABASE_URL"
_HOME = Path(__file__).resolve().parent.parent


def check_database(settings: Settings) -> None:
    """Return when the database answers. Raises SettingError with a sentence that repeats no password."""
    if settings.database_url.startswith("sqlite"):
        return
    # In the environment, because everybody on the machine can read command lines. libpq wants some of ours, too.
    environ = {**os.environ, _URL: settings.database_url}
    # No time-out and one pipe: so this is a plain read, without an event loop where the standard library is patched.
    done = subprocess.run(
        [sys.executable, "-m", "shared.database_probe"],
        cwd=_HOME,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode == -signal.SIGALRM:
        raise SettingError(
            f"{_URL}: PostgreSQL at {_place(settings.database_url)} does not answer within {ANSWER_SECONDS} seconds."
        )
    if done.returncode != 0:
        reason = done.stdout.decode(errors="replace").strip() or f"the attempt ended with status {done.returncode}"
        raise SettingError(f"{_URL}: PostgreSQL at {_place(settings.database_url)} cannot be used: {reason}.")


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


def main() -> int:
    """Ask once; the reason for a failure goes to standard output."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.alarm(ANSWER_SECONDS)
    url = os.environ[_URL]
    try:
        engine = create_engine(url, poolclass=NullPool)
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (SQLAlchemyError, ImportError, TypeError, ValueError) as error:
        # Of the driver itself come ImportError (it or libpq is missing) and, for odd options, the last two.
        sys.stdout.write(reason_of(error, url))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

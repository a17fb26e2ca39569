"""Where databases lie: the addresses of the ledger's database and of the counters."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from shared import counters
from shared.config.data_dir import is_ours, is_sticky, refuse_network, refuse_of_others, refuse_shared
from shared.config.sqlite_files import counter_files, database_files
from shared.config.values import SettingError, shown
from shared.sentences import ended

_SQLITE = "sqlite:///"
_SQLITE_HEADER = b"SQLite format 3\0"  # https://www.sqlite.org/fileformat.html#the_database_header

_Files = Callable[[Path], frozenset[Path]]
_DATABASES = ("router.db", "counters.db")  # in the data directory, where no URL says otherwise


def database_url(name: str, text: str, *, ours: bool = True) -> str:
    """The URL as SQLAlchemy takes it, a file's path absolute. Says nothing about whether a server answers.

    One that is not `ours` is only read, wherever it lies.
    """
    scheme = text.partition("://")[0]
    if scheme == "sqlite":
        path = _file(name, text, database_files if ours else None)
        if path.exists() and not _may_be_sqlite(path):
            raise SettingError(f"{name}: {path} is a file of another kind, not a SQLite database.")
        return f"{_SQLITE}{path}"
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingError(f"{name} must begin with sqlite:/// or postgresql://.")
    text = "postgresql+psycopg" + text[len(scheme) :]
    _judge_server(name, text)
    return text


def ledger_database_url(name: str, text: str, database: str) -> str:
    """The URL of the same database for the ledger writer, which may have a user of its own there."""
    if not text:
        return database
    if database.startswith(_SQLITE) or text.startswith(_SQLITE):
        raise SettingError(f"{name} is for PostgreSQL: it names the database of DATABASE_URL, and another user.")
    return database_url(name, text)


def _judge_server(name: str, text: str) -> None:
    """Repeats nothing of the URL, because a password may stand anywhere in one that cannot be read."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingError(f"{name} cannot be read. It must look like postgresql://user@host:5432/name.") from None
    if "@" in (url.host or ""):
        raise SettingError(f"{name}: write @ : / in a user or a password as %40 %3A %2F.")
    if url.port is not None and not 1 <= url.port <= 65535:
        raise SettingError(f"{name} must have a port from 1 to 65535.")
    if not (url.database or "").strip() and not {"dbname", "service"} & set(url.query):
        raise SettingError(f"{name} names no database. It must look like postgresql://user@host:5432/name.")


def limits_url(name: str, text: str) -> str:
    """The URL as the counters take it, a file's path absolute. A Valkey's may say so."""
    scheme, sign, rest = text.partition("://")
    if scheme.startswith("valkey"):
        text = f"redis{scheme.removeprefix('valkey')}{sign}{rest}"
    try:
        counters.connect(text).close()
    except ValueError as error:
        raise SettingError(f"{name} cannot be used: {ended(error)}") from None
    return f"{_SQLITE}{_file(name, text, counter_files)}" if text.startswith(_SQLITE) else text


def refuse_one_file_for_both(database: str, limits: str) -> None:
    """However they are spelled, and with the files that each keeps beside its own."""
    if _files_of(database, database_files) & _files_of(limits, counter_files):
        raise SettingError("ROUTER_LIMITS_URL names the file of DATABASE_URL, or one beside it. Give each its own.")


def refuse_our_files(name: str, url: str, data_dir: Path) -> None:
    """A database in the data directory must not lie where the router keeps something else."""
    path = Path(url.removeprefix(_SQLITE)).resolve()
    if url.startswith(_SQLITE) and is_ours(path, data_dir) and path.name not in _DATABASES:
        raise SettingError(f"{name}: {path} is the router's own, for something else. Name another file.")


def refuse_our_log(name: str, path: Path, data_dir: Path, urls: tuple[str, str], others: Iterable[Path]) -> None:
    """Lines that are appended to a database, or to a file with a secret, damage it.

    `urls` are those of the database and of the counters; `others` the files of `NAME_FILE`.
    """
    place = path.resolve()
    database, limits = urls
    kept = _files_of(database, database_files) | _files_of(limits, counter_files)
    if place in kept | {other.resolve() for other in others} or is_ours(place, data_dir):
        raise SettingError(f"{name}: {place} is the router's own, for something else. Name another file.")


def _files_of(url: str, files: _Files) -> frozenset[Path]:
    """The file of a SQLite URL with those that are kept beside it, as they resolve; none for a server."""
    return files(Path(url.removeprefix(_SQLITE)).resolve()) if url.startswith(_SQLITE) else frozenset()


def _file(name: str, text: str, files: _Files | None) -> Path:
    """The file that a URL names. `files`: all that is written with it; None: it is only read."""
    path_text = text.removeprefix(_SQLITE)
    if not text.startswith(_SQLITE) or not path_text.strip("/ ") or ":memory:" in path_text:
        raise SettingError(f"{name} names no file; several processes cannot share a database in memory.")
    if "?" in path_text or path_text.startswith("file:"):
        raise SettingError(f"{name} must be sqlite:/// and a plain path, without options.")
    path = Path(path_text)
    try:
        path = path.absolute()
        problem = _problem(path)
    except OSError as error:
        problem = (error.strerror or "").lower()
    if problem is not None:
        raise SettingError(f"{name}: {shown(str(path))} cannot be used: {problem}.")
    refuse_network(name, path)
    if files is not None:
        # SQLite keeps its other files beside what a link leads to.
        for place in {path, path.resolve()}:
            if is_sticky(place.parent):
                refuse_of_others(name, files(place))
            else:
                refuse_shared(name, place.parent)
    return path


def _problem(path: Path) -> str | None:
    """What keeps us from making or writing the file; SQLite keeps other files beside it, so its folder counts too."""
    if not path.parent.exists():
        return "its folder does not exist"
    if not path.parent.is_dir():
        return "its folder is a file"
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return "its folder cannot be written"
    if not path.exists():
        return "it is a link to nowhere" if path.is_symlink() else None
    if not path.is_file():
        return "it is a directory" if path.is_dir() else "it is no regular file"
    return None if os.access(path, os.R_OK | os.W_OK) else "it cannot be read and written"


def _may_be_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(len(_SQLITE_HEADER))
    return start in (b"", _SQLITE_HEADER)

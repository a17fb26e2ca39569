"""Which files belong to a SQLite database, and which to the counters in one: by name, beside it."""

from pathlib import Path

_OF_SQLITE = ("", "-wal", "-shm", "-journal")  # https://www.sqlite.org/tempfiles.html


def database_files(path: Path) -> frozenset[Path]:
    """A database, and what SQLite keeps of it."""
    return frozenset(path.with_name(path.name + end) for end in _OF_SQLITE)


def counter_files(path: Path) -> frozenset[Path]:
    """The counters with their lock and their draft, and the failed logins (`shared.counters.datafile`, `connect`)."""
    files: set[Path] = set()
    for file in (path, path.with_name(f"{path.stem}-logins.db")):
        files |= {*database_files(file), file.with_name(f"{file.name}.lock")}
        files |= database_files(file.with_name(f"{file.name}.new"))
    return frozenset(files)

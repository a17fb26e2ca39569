"""Searches among many keys: those that have a text in their name, prefix or models, by an index of trigrams."""

import re
from typing import Any

from sqlalchemy import Select, func, literal_column, select, table, text

from shared.models import KeySearch
from webapp.db import db

_TRIGRAMS = "key_search_trigrams"  # a table on SQLite; on PostgreSQL an index of this name with ix_ before it
_LEAST = 3
# PostgreSQL's are made of letters and digits alone. A text without three of these in a row would read the whole index.
_LETTERS = re.compile(r"[^\W_]{3}")


def found_by_trigrams(wanted: str, most: int) -> Select[Any] | None:
    """The ids of at most so many keys whose text holds what is wanted, and perhaps of others; of any organisation.

    None: no index can tell, because the text is too short, or because this database has no such index.
    """
    sqlite = db.engine.dialect.name == "sqlite"
    if len(wanted) < _LEAST or not (sqlite or _LETTERS.search(wanted)) or not _is_there(sqlite=sqlite):
        return None
    if sqlite:
        phrase = '"' + wanted.replace('"', '""') + '"'
        matches = literal_column(_TRIGRAMS).op("MATCH")(phrase)
        rows: Select[Any] = select(literal_column("rowid")).select_from(table(_TRIGRAMS)).where(matches).limit(most)
        return select(KeySearch.key_id.label("id")).where(KeySearch.id.in_(rows))
    pattern = re.sub(r"([\\%_])", r"\\\1", wanted)
    return select(KeySearch.key_id.label("id")).where(KeySearch.text.like(func.lower(f"%{pattern}%"))).limit(most)


def _is_there(*, sqlite: bool) -> bool:
    """Asked each time: it may be made at any moment, by an administrator who allows for it later."""
    if sqlite:
        found: Select[Any] = (
            select(literal_column("1")).select_from(table("sqlite_master")).where(text(f"name = '{_TRIGRAMS}'"))
        )
        return db.session.scalar(found) is not None
    return db.session.scalar(select(func.to_regclass(f"ix_{_TRIGRAMS}").is_not(None))) is True

"""Keys that something may have happened to, page by page, each page from an index of the few that it may be.

A page begins behind the place of the one before it, and moments only move on. So who walks through all pages has seen
every key that was there, whatever changes meanwhile, and may rest between two of them for as long as they like.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, literal, tuple_
from sqlalchemy.orm import InstrumentedAttribute

from webapp.actions.alerts import Happened
from webapp.db import db

KEYS_A_PAGE = 500

Place = tuple[datetime, str]  # a moment, and the id of what it is of


@dataclass(frozen=True, slots=True)
class Page:
    """What has happened to some keys, and the place behind which the next page begins; None: there is none."""

    happened: Sequence[Happened]
    behind: Place | None


def rows_of(
    query: Select[*tuple[Any, ...]],
    moment: InstrumentedAttribute[Any],
    subject: InstrumentedAttribute[str],
    since: datetime,
    behind: Place | None,
) -> tuple[Sequence[Any], Place | None]:
    """The next rows of a query from a moment on, in its order, and the place to go on from.

    The query's first two columns are the moment and the subject.
    """
    if behind is None:
        query = query.where(moment >= since)
    else:
        # Alone: beside another condition SQLite would begin at that one, and read again what is behind.
        at, key_id = behind
        query = query.where(tuple_(moment, subject) > tuple_(literal(at, moment.type), literal(key_id, subject.type)))
    rows = db.session.execute(query.order_by(moment, subject).limit(KEYS_A_PAGE)).all()
    full = len(rows) == KEYS_A_PAGE
    return rows, (rows[-1][0], rows[-1][1]) if full else None

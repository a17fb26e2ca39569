"""What lists of keys are found by. Triggers keep these rows beside the keys and their totals (migration 0011).

Nobody writes them, and nothing depends on them but how fast a list is: whoever reads them judges each key once more.
"""

from datetime import date

from sqlalchemy import Date, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base
from shared.models.policy import ID_LENGTH


class KeySearch(Base):
    """The text that a search for a key goes through: its name, prefix and patterns of models, in small letters.

    Trigrams of it are indexed where the database can: in the table `key_search_trigrams` (FTS5) on SQLite, by the
    index `ix_key_search_trigrams` (pg_trgm) on PostgreSQL.
    """

    __tablename__ = "key_search"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), unique=True)
    text: Mapped[str] = mapped_column(Text)


class UnchargedKey(Base):
    """A key that has cost nothing so far, and so has no total that it could be sorted by."""

    __tablename__ = "uncharged_keys"
    __table_args__ = (Index("ix_uncharged_keys_org_id_key_id", "org_id", "key_id"),)

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))


class KeyNearLimit(Base):
    """A key that had used 80 % of its spend limit on a day, or may have.

    The day is the last one where the limit never resets, or is nothing. A day that lies before the running period
    says nothing any more.
    """

    __tablename__ = "keys_near_limit"
    __table_args__ = (Index("ix_keys_near_limit_org_id_day", "org_id", "day"),)

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    day: Mapped[date] = mapped_column(Date)

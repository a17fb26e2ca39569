"""What is told apart by words of people's own: usage by the labels of requests, keys by their tags."""

from datetime import date

from sqlalchemy import Date, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, by_code_point
from shared.labels import LABEL_LENGTH
from shared.models.ledger import UsageSums
from shared.models.policy import ID_LENGTH, TAG_LENGTH


class LabelUsage(UsageSums, Base):
    """Sums of those rows of the ledger that have a label, by key and day, kept in the same transaction as the rows."""

    __tablename__ = "label_usage"
    __table_args__ = (Index("ix_label_usage_org_id_day", "org_id", "day"),)

    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    label: Mapped[str] = mapped_column(String(LABEL_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))


class KeyTag(Base):
    """A key has this tag. Triggers keep these rows beside `ProxyKey.tags` (migration 0020), and nobody else writes."""

    __tablename__ = "key_tags"
    __table_args__ = (Index("ix_key_tags_key_id", "key_id"),)

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    tag: Mapped[str] = mapped_column(by_code_point(TAG_LENGTH), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)

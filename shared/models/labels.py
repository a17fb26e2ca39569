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


class OrganizationLabels(UsageSums, Base):
    """The same of all keys of an organisation: triggers keep it beside those sums (migration 0031)."""

    __tablename__ = "organization_labels"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    label: Mapped[str] = mapped_column(by_code_point(LABEL_LENGTH), primary_key=True)


class TagUsage(UsageSums, Base):
    """Sums of those keys that have a tag now; of the empty one, of all keys that have any.

    Triggers keep it beside the daily sums of keys, and beside their tags: with a tag a key brings what it has used, and
    takes it away again (migration 0031). What is left of a tag that no key has are sums of nothing.
    """

    __tablename__ = "tag_usage"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    tag: Mapped[str] = mapped_column(by_code_point(TAG_LENGTH), primary_key=True)


class KeyTag(Base):
    """A key has this tag. Triggers keep these rows beside `ProxyKey.tags` (migration 0020), and nobody else writes."""

    __tablename__ = "key_tags"
    __table_args__ = (Index("ix_key_tags_key_id", "key_id"),)

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    tag: Mapped[str] = mapped_column(by_code_point(TAG_LENGTH), primary_key=True)
    key_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)

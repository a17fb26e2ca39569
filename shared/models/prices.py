"""Prices that organisations have set themselves."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.models.policy import ID_LENGTH


class PriceOverride(Base):
    """A price that beats the price table's, for one organisation. Rates are decimal strings per million tokens."""

    __tablename__ = "price_overrides"
    __table_args__ = (UniqueConstraint("org_id", "provider", "model"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    provider: Mapped[str] = mapped_column(String(32))
    model: Mapped[str] = mapped_column(String(255))
    rates: Mapped[dict[str, str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)

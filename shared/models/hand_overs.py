"""Secrets of keys that wait for whoever is to have them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.models.policy import ID_LENGTH


class HandOver(Base):
    """A secret behind a link that shows it once. The row, and with it the secret, goes when it is seen or lapses.

    The link holds a random token, this row its SHA-256; the secret is sealed. The audit log keeps what became of it.
    """

    __tablename__ = "hand_overs"
    __table_args__ = (Index("ix_hand_overs_expires_at", "expires_at"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    key_id: Mapped[str] = mapped_column(ForeignKey("proxy_keys.id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    prefix: Mapped[str] = mapped_column(String(24))  # of the secret
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

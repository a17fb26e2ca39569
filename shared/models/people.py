"""Staff: who may log in and who they are elsewhere, who is logged in where, who was invited and has not come yet."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime
from shared.models.policy import AGENT_LENGTH, ID_LENGTH


class User(Base):
    """A member of staff who may log in. `email` is stored case-folded."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("role in ('viewer', 'member', 'admin')", name="role"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    role: Mapped[str] = mapped_column(String(16))
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UserSession(Base):
    """A login. The cookie holds a random id, this row its SHA-256; deleting the row ends the session."""

    __tablename__ = "user_sessions"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Where it began, so that its owner can tell it from others.
    ip: Mapped[str | None] = mapped_column(String(45))
    agent: Mapped[str | None] = mapped_column(String(AGENT_LENGTH))


class KnownPlace(Base):
    """Where somebody has logged in before: a network, or a browser by the SHA-256 of what its cookie holds.

    Guesses from elsewhere do not slow down who logs in there.
    """

    __tablename__ = "known_places"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    place: Mapped[str] = mapped_column(String(80), primary_key=True)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Identity(Base):
    """Who a member is to a provider of OpenID Connect: its issuer, and a subject that it never gives to anybody else.

    Noted when somebody first logs in through the provider; from then on they are known by it, whatever email they have
    there.
    """

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("user_id", "issuer"),)

    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    subject: Mapped[str] = mapped_column(String(255), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Invitation(Base):
    """A place in an organisation for whoever holds the link. The link holds a random secret, this row its SHA-256.

    The row goes when it is accepted or withdrawn; the audit log keeps that it was there.
    """

    __tablename__ = "invitations"
    __table_args__ = (UniqueConstraint("org_id", "email"),)

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    email: Mapped[str] = mapped_column(String(254))  # case-folded
    role: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)

"""What people are told by mail or webhook: who and of what, what happened, and how far each message has come."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    true,
)
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, PartialIndex, UtcDateTime
from shared.models.policy import ID_LENGTH

TARGET_LENGTH = 254  # as an email may be long


class AlertRules(Base):
    """What an organisation wants to be told of, and by mail to whom. One without a row has the defaults."""

    __tablename__ = "alert_rules"

    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), primary_key=True)
    recipients: Mapped[list[str]] = mapped_column(JSON)
    spend_thresholds: Mapped[list[int]] = mapped_column(JSON)  # per cent of a key's spend limit, the lowest first
    unused_days: Mapped[int | None]  # NULL, here and below: nobody is told
    expiring_days: Mapped[int | None]
    credential_refused: Mapped[bool]
    refusals_per_10_minutes: Mapped[int | None] = mapped_column(BigInteger)


class KeyAlertRules(Base):
    """Thresholds of one key, in the place of its organisation's."""

    __tablename__ = "key_alert_rules"

    key_id: Mapped[str] = mapped_column(ForeignKey("proxy_keys.id", ondelete="CASCADE"), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), index=True)
    spend_thresholds: Mapped[list[int]] = mapped_column(JSON)


class Webhook(Base):
    """An address that is told of events. Its secret signs what is sent there; the one before it does so for a while.

    Whoever knows the address of a chat's webhook may write to that chat, so it is sealed like the secrets.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    url_sealed: Mapped[bytes] = mapped_column(LargeBinary)
    url_shown: Mapped[str] = mapped_column(String(510))  # what people recognise it by: its host and its last signs
    events: Mapped[list[str]] = mapped_column(JSON)  # empty: all
    enabled: Mapped[bool] = mapped_column(default=True, server_default=true())
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    previous_sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    previous_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))


class Alert(Base):
    """Something that happened. The unique row is what makes it happen once a period, whoever notices it first."""

    __tablename__ = "alerts"
    __table_args__ = (
        UniqueConstraint("org_id", "event", "subject", "period"),
        Index("ix_alerts_kept_until", "kept_until"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    event: Mapped[str] = mapped_column(String(40))  # one of webapp.schemas.alerts.EVENTS
    subject: Mapped[str] = mapped_column(String(ID_LENGTH))  # the id of a key, a provider's name, ...
    period: Mapped[str] = mapped_column(String(80))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    facts: Mapped[dict[str, Any]] = mapped_column(JSON)
    # Not before its period has ended, or the same thing would be new again. NULL: that has no end.
    kept_until: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AlertDelivery(Base):
    """A message about one or more alerts to one receiver: written with the alert, sent until it is taken.

    `attempts` counts those that were begun, and is what whoever begins one compares and sets; until `next_at` nobody
    else does. So an attempt whose process died is made again when its time is over.
    """

    __tablename__ = "alert_deliveries"
    __table_args__ = (
        CheckConstraint("channel in ('email', 'webhook')", name="channel"),
        CheckConstraint("status in ('pending', 'delivered', 'dead')", name="status"),
        Index("ix_alert_deliveries_org_id_id", "org_id", "id"),
        Index("ix_alert_deliveries_ended_at", "ended_at"),
        # Whether a receiver had mail a moment ago.
        Index("ix_alert_deliveries_target_created_at", "target", "created_at"),
        # Of what is still to be sent alone. By receiver first: each finds its next one, however much others wait for.
        PartialIndex(
            "ix_alert_deliveries_due",
            "target",
            "next_at",
            where="status = 'pending'",
        ),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    channel: Mapped[str] = mapped_column(String(16))
    target: Mapped[str] = mapped_column(String(TARGET_LENGTH))  # an address, or the id of a webhook
    alerts: Mapped[list[str]] = mapped_column(JSON)  # ids of those that it tells one by one
    more: Mapped[dict[str, int]] = mapped_column(JSON)  # and how many others, by event, it tells in numbers alone
    event: Mapped[str] = mapped_column(String(40))  # of the first of them
    status: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int]
    next_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    response_status: Mapped[int | None]  # of the last attempt, if it was answered
    error: Mapped[str | None] = mapped_column(String(300))  # of the last attempt; holds no secret


class RefusalSample(Base):
    """How many requests an organisation had been refused on a day, as of a minute in it; kept for an hour or so."""

    __tablename__ = "refusal_samples"

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, primary_key=True)
    day: Mapped[date] = mapped_column(Date)
    count: Mapped[int] = mapped_column(BigInteger)

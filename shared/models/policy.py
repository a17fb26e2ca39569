"""What people decide: organisations, staff, keys, credentials, prices, and the log of who changed what."""

import sys
from datetime import datetime
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, CheckConstraint, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column, relationship

from shared.db import Base, PartialIndex, UtcDateTime, by_code_point
from shared.model_limits import model_limits_of
from shared.organization_limits import OrganizationLimits
from shared.policy.values import KeySnapshot, SpendBoost
from shared.zones import UTC_NAME

Status = Literal["active", "paused", "expired", "revoked"]
ROLES = ("viewer", "member", "admin")
# What a token with this scope may do can make it, or another, one that may do anything.
ADMIN_SCOPE = "admin"
SCOPES = ("keys:read", "keys:write", "usage:read", ADMIN_SCOPE)

ID_LENGTH = 40
NAME_LENGTH = 80
AGENT_LENGTH = 200
TAG_LENGTH = 40
EMAIL_LENGTH = 254
NOTE_LENGTH = 1000
ZONE_LENGTH = 64
# Whether a key has a limit of what it may spend: its own, or for models.
LIMITED = "spend_limit_nanos IS NOT NULL OR json_array_length(model_limits) > 0"
UNLIMITED = "spend_limit_nanos IS NULL AND (model_limits IS NULL OR json_array_length(model_limits) = 0)"
PAUSED = "paused IS {} AND revoked_at IS NULL"  # what stands there is the database's own word for true


def _index_of_some(name: str, column: str, only: str, only_postgresql: str | None = None, **info: bool) -> PartialIndex:
    """An index of some keys of an organisation, by a column. `only` is written as statements write it.

    One with `large` is built on PostgreSQL by `webapp.large_indexes`: no migration may keep keys from being read.
    """
    return PartialIndex(name, "org_id", column, "id", where=only, where_postgresql=only_postgresql, info=info or None)


class Organization(Base):
    """A tenant: it sees only itself."""

    __tablename__ = "organizations"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # Moves with every change of what its keys share, such as a provider's credential.
    policy_version: Mapped[int] = mapped_column(default=1, server_default="1")
    # What a new key gets that says nothing of it, and the most that keys may be given; NULL is none. See `KeyRules`.
    default_spend_limit_nanos: Mapped[int | None] = mapped_column(BigInteger)
    default_spend_reset: Mapped[str] = mapped_column(String(16), default="never", server_default="never")
    default_expiry_days: Mapped[int | None]
    default_rate_limit_rpm: Mapped[int | None] = mapped_column(BigInteger)
    max_spend_limit_nanos: Mapped[int | None] = mapped_column(BigInteger)
    max_expiry_days: Mapped[int | None]
    max_rate_limit_rpm: Mapped[int | None] = mapped_column(BigInteger)
    default_rate_limit_tpm: Mapped[int | None] = mapped_column(BigInteger)
    max_rate_limit_tpm: Mapped[int | None] = mapped_column(BigInteger)
    spend_limit_required: Mapped[bool] = mapped_column(default=False, server_default=false())
    # What all its keys may use together; NULL is no limit.
    spend_limit_nanos: Mapped[int | None] = mapped_column(BigInteger)
    spend_reset: Mapped[str] = mapped_column(String(16), default="never", server_default="never")
    rate_limit_rpm: Mapped[int | None] = mapped_column(BigInteger)
    # By its IANA name; in it the days begin by which usage is summed, and with them the periods of limits.
    time_zone: Mapped[str] = mapped_column(String(ZONE_LENGTH), default=UTC_NAME, server_default=UTC_NAME)


class ProxyKey(Base):
    """What an app may do; its secrets are `KeySecret` rows. `version` counts edits, for ETag and If-Match."""

    __tablename__ = "proxy_keys"
    __table_args__ = (
        CheckConstraint("spend_reset in ('never', 'daily', 'weekly', 'monthly')", name="spend_reset"),
        CheckConstraint("rate_limit_rpm >= 1", name="rate_limit_rpm"),
        CheckConstraint("spend_limit_nanos >= 0 and spend_limit_nanos < 9007199254740992", name="spend_limit_nanos"),
        Index("ix_proxy_keys_org_id_id", "org_id", "id"),
        # A page of a list begins in the index of its order.
        Index("ix_proxy_keys_org_id_created_at_id", "org_id", "created_at", "id"),
        Index("ix_proxy_keys_org_id_last_used_at_id", "org_id", "last_used_at", "id"),
        Index("ix_proxy_keys_org_id_expires_at_id", "org_id", "expires_at", "id"),
        # The order of names has one too, of lower(name), which SQLAlchemy cannot read back from SQLite: migration 0011.
        Index("ix_proxy_keys_org_id_created_by", "org_id", "created_by", "created_at", "id"),
        # Of those keys alone that a filter leaves, so that a list of few need not look at all others.
        _index_of_some("ix_proxy_keys_live", "created_at", "revoked_at IS NULL"),
        _index_of_some("ix_proxy_keys_live_expires_at", "expires_at", "revoked_at IS NULL"),
        _index_of_some("ix_proxy_keys_live_last_used_at", "last_used_at", "revoked_at IS NULL"),
        _index_of_some("ix_proxy_keys_revoked", "created_at", "revoked_at IS NOT NULL"),
        _index_of_some("ix_proxy_keys_owner_email", "owner_email", "owner_email IS NOT NULL"),
        _index_of_some("ix_proxy_keys_paused", "created_at", PAUSED.format("1"), PAUSED.format("true")),
        _index_of_some("ix_proxy_keys_unused", "created_at", "last_used_at IS NULL AND revoked_at IS NULL"),
        _index_of_some("ix_proxy_keys_with_limit", "created_at", f"({LIMITED}) AND revoked_at IS NULL", large=True),
        _index_of_some("ix_proxy_keys_without_limit", "created_at", f"{UNLIMITED} AND revoked_at IS NULL", large=True),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"))
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    prefix: Mapped[str] = mapped_column(String(24))
    allowed_providers: Mapped[list[str]] = mapped_column(JSON, default=list)
    allowed_models: Mapped[list[str]] = mapped_column(JSON, default=list)
    allowed_ips: Mapped[list[str]] = mapped_column(JSON, default=list)
    rate_limit_rpm: Mapped[int | None] = mapped_column(BigInteger)
    spend_limit_nanos: Mapped[int | None] = mapped_column(BigInteger)
    spend_reset: Mapped[str] = mapped_column(String(16), default="never")
    # A raise of the limit and its end, both or neither. They stay when it has ended: what runs, `boost_of` tells.
    spend_limit_boost_nanos: Mapped[int | None] = mapped_column(BigInteger)
    spend_limit_boost_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    paused: Mapped[bool] = mapped_column(default=False, server_default=false())
    version: Mapped[int] = mapped_column(default=1)
    max_concurrent_requests: Mapped[int | None] = mapped_column(BigInteger)
    rate_limit_tpm: Mapped[int | None] = mapped_column(BigInteger)
    # Spend limits for models: pattern, nano-dollars, period, and since which generation of counters it is known what
    # counts against it. NULL: the key never had any, so that the ledger keeps no sums by model for it.
    model_limits: Mapped[list[dict[str, Any]] | None] = mapped_column(JSON(none_as_null=True))
    # For people: what it belongs to, whom to ask, and anything else worth knowing.
    tags: Mapped[list[str]] = mapped_column(JSON, default=list, server_default="[]")
    owner_email: Mapped[str | None] = mapped_column(by_code_point(EMAIL_LENGTH))
    note: Mapped[str | None] = mapped_column(String(NOTE_LENGTH))

    secrets: Mapped[list["KeySecret"]] = relationship(back_populates="key", cascade="all, delete-orphan")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - SQLAlchemy reads it once, nobody changes it

    def status(self, now: datetime) -> Status:
        """Derived: revoked beats expired beats paused beats active."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "paused" if self.paused else "active"


def boost_of(row: Any, at: float) -> SpendBoost | None:
    """The raise of its spend limit that a key has at a moment; its row as for `snapshot_of`."""
    nanos, until = row.spend_limit_boost_nanos, row.spend_limit_boost_until
    if nanos is None or until is None or row.spend_limit_nanos is None:
        return None
    ends = until.timestamp()
    return SpendBoost(nanos, ends) if at < ends else None


def limit_of(row: Any, at: float) -> int | None:
    """What a key may spend in its period as things are at a moment; likewise. None: without a limit."""
    boost = boost_of(row, at)
    return row.spend_limit_nanos if boost is None else row.spend_limit_nanos + boost.nanos  # type: ignore[no-any-return]


def snapshot_of(
    row: Any, at: float, organization: OrganizationLimits | None = None, zone: str | None = None
) -> KeySnapshot:
    """What policy judges by at a moment (Unix seconds), frozen; of a `ProxyKey` or of a row of its columns.

    `organization`: what it shares with all other keys of its organisation; `zone`: that one's, None for UTC.
    """
    return KeySnapshot(
        id=row.id,
        org_id=sys.intern(row.org_id),
        name=row.name,
        prefix=row.prefix,
        revoked=row.revoked_at is not None,
        expires_at=None if row.expires_at is None else row.expires_at.timestamp(),
        paused=row.paused,
        allowed_providers=_providers(tuple(row.allowed_providers)),
        allowed_models=_models(tuple(row.allowed_models)),
        allowed_networks=_networks(tuple(row.allowed_ips)),
        rate_limit_rpm=_limit(row.rate_limit_rpm),
        spend_limit_nanos=_limit(limit_of(row, at)),
        spend_reset=sys.intern(row.spend_reset),
        version=row.version,
        boost=boost_of(row, at),
        max_concurrent_requests=_limit(row.max_concurrent_requests),
        organization=organization,
        rate_limit_tpm=_limit(row.rate_limit_tpm),
        model_limits=model_limits_of(row.id, row.model_limits),
        zone=zone,
    )


@lru_cache(maxsize=1_000)
def limits_of(rate_limit_rpm: int | None, spend_limit_nanos: int | None, spend_reset: str) -> OrganizationLimits | None:
    """An organisation's, one object for all its keys; None if it has none."""
    if rate_limit_rpm is None and spend_limit_nanos is None:
        return None
    return OrganizationLimits(rate_limit_rpm, spend_limit_nanos, spend_reset)


# Most keys are like many others in these, and the data plane keeps a hundred thousand of them: each value stands once.


@lru_cache(maxsize=10_000)
def _limit(number: int | None) -> int | None:
    return number


@lru_cache(maxsize=10_000)
def _providers(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


@lru_cache(maxsize=10_000)
def _models(globs: tuple[str, ...]) -> tuple[str, ...]:
    return globs


@lru_cache(maxsize=10_000)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


class KeySecret(Base):
    """One secret of a proxy key, as SHA-256. A rotated one stays valid until `valid_until`."""

    __tablename__ = "key_secrets"

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    prefix: Mapped[str] = mapped_column(String(24), default="", server_default="")
    key_id: Mapped[str] = mapped_column(ForeignKey("proxy_keys.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    valid_until: Mapped[datetime | None] = mapped_column(UtcDateTime)

    key: Mapped[ProxyKey] = relationship(back_populates="secrets")


class ManagementToken(Base):
    """A secret of automation, with scopes."""

    __tablename__ = "management_tokens"

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(ForeignKey("organizations.id"), index=True)
    name: Mapped[str] = mapped_column(String(NAME_LENGTH))
    prefix: Mapped[str] = mapped_column(String(24))
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    created_by: Mapped[str] = mapped_column(String(254))
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class IdempotentCreation(Base):
    """What an `Idempotency-Key` made, for 24 hours: the created row's id, never the secret."""

    __tablename__ = "idempotent_creations"
    __table_args__ = (Index("ix_idempotent_creations_created_at", "created_at"),)

    org_id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    idempotency_key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_digest: Mapped[str] = mapped_column(String(64))
    created_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PolicyOutbox(Base):
    """A key or organisation whose new policy version the counters may not know yet; written with the edit itself."""

    __tablename__ = "policy_outbox"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    subject: Mapped[str] = mapped_column(String(ID_LENGTH))


class AuditEvent(Base):
    """Who changed what, when, from where. Written in the transaction of the change itself, never altered."""

    __tablename__ = "audit_events"
    __table_args__ = (
        Index("ix_audit_events_org_id_at", "org_id", "at"),
        # What somebody did, what was done to something, and all of one kind: each by itself, the newest first.
        Index("ix_audit_events_org_id_actor_at", "org_id", "actor", "at"),
        Index("ix_audit_events_org_id_target_at", "org_id", "target", "at"),
        Index("ix_audit_events_org_id_action_at", "org_id", "action", "at"),
    )

    id: Mapped[str] = mapped_column(String(ID_LENGTH), primary_key=True)
    org_id: Mapped[str] = mapped_column(String(ID_LENGTH))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str] = mapped_column(String(254))  # an email, a token's id, "system", or who holds a link
    action: Mapped[str] = mapped_column(String(64))  # e.g. "key.create"
    target: Mapped[str] = mapped_column(String(ID_LENGTH))
    before: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    after: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    ip: Mapped[str | None] = mapped_column(String(45))

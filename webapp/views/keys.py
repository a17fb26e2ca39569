"""Proxy keys as people and automation see them: with their state, and what they have spent."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select

from shared import money
from shared.models import KeySecret, ProxyKey, boost_of
from webapp.context import NotFound, now
from webapp.db import db
from webapp.views.model_limits import ModelLimitView, model_limits_of_keys
from webapp.views.spend import SpendView, spend_of


@dataclass(frozen=True, slots=True)
class KeyView:
    """A proxy key. Moments are in UTC, money is decimal strings. A raise that has ended is told no more.

    `spend_limit_usd` is as it was set; what may be spent with the raise, `spend` tells.
    """

    id: str
    name: str
    prefix: str
    status: str
    paused: bool
    allowed_providers: tuple[str, ...]
    allowed_models: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_rpm: int | None
    rate_limit_tpm: int | None
    max_concurrent_requests: int | None
    spend_limit_usd: str | None
    spend_reset: str
    spend_limit_boost_usd: str | None
    spend_limit_boost_until: datetime | None
    model_limits: tuple[ModelLimitView, ...]
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    revoked_at: datetime | None
    version: int
    spend: SpendView
    tags: tuple[str, ...] = ()
    owner_email: str | None = None
    note: str | None = None

    @property
    def etag(self) -> str:
        """The value of ETag, without quotes: the edit that this is, and what else moves: what was used, a raise.

        So a tag stands for one object as it is told, while `If-Match` asks for the edit alone.
        """
        spend = self.spend
        moved = (
            spend.lifetime_nanos,
            spend.spent_nanos,
            spend.held_nanos,
            self.last_used_at,
            self.spend_limit_boost_until,
            *(one.spend.spent_nanos + one.spend.held_nanos for one in self.model_limits),
        )
        if not any(moved) and self.status != "expired":
            return f"v{self.version}"
        told = repr((self.status, spend.period_start, *moved)).encode()
        return f"v{self.version}-{hashlib.sha256(told).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class SecretView:
    """A secret that opens a key. `valid_until` is set on one that was rotated out."""

    prefix: str
    created_at: datetime
    valid_until: datetime | None


def secrets_of(key: KeyView, at: datetime) -> tuple[SecretView, ...]:
    """The secrets that open a key at a moment, the newest first."""
    query = select(KeySecret).where(
        KeySecret.key_id == key.id, or_(KeySecret.valid_until.is_(None), KeySecret.valid_until > at)
    )
    # The one that is not to die is the newest, also where two were made in the same instant. Prefixes were not written
    # down before secrets could be rotated; such a one is the key's only secret.
    rows = sorted(db.session.scalars(query), key=lambda row: (row.valid_until is None, row.created_at), reverse=True)
    return tuple(SecretView(row.prefix or key.prefix, row.created_at, row.valid_until) for row in rows)


def row_of(org_id: str, key_id: str, *, lock: bool = False) -> ProxyKey:
    """The row, for actions and queries; `lock` keeps other writers off until the transaction ends."""
    query = select(ProxyKey).where(ProxyKey.id == key_id, ProxyKey.org_id == org_id)
    row = db.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound
    return row


def view_of(row: ProxyKey) -> KeyView:
    """The view of one row, with its spend."""
    return views_of([row], now())[0]


def views_of(rows: Sequence[ProxyKey], at: datetime) -> tuple[KeyView, ...]:
    """Views of rows, in their order, with their spend as of `at`."""
    spend, limits = spend_of(rows, at), model_limits_of_keys(rows, at)
    boosts = {row.id: boost_of(row, at.timestamp()) for row in rows}
    return tuple(
        KeyView(
            id=row.id,
            name=row.name,
            prefix=row.prefix,
            status=row.status(at),
            paused=row.paused,
            allowed_providers=tuple(row.allowed_providers),
            allowed_models=tuple(row.allowed_models),
            allowed_ips=tuple(row.allowed_ips),
            rate_limit_rpm=row.rate_limit_rpm,
            rate_limit_tpm=row.rate_limit_tpm,
            max_concurrent_requests=row.max_concurrent_requests,
            spend_limit_usd=None if row.spend_limit_nanos is None else money.to_usd(row.spend_limit_nanos),
            spend_reset=row.spend_reset,
            spend_limit_boost_usd=None if (boost := boosts[row.id]) is None else money.to_usd(boost.nanos),
            spend_limit_boost_until=None if boost is None else row.spend_limit_boost_until,
            model_limits=limits[row.id],
            expires_at=row.expires_at,
            created_at=row.created_at,
            created_by=row.created_by,
            last_used_at=row.last_used_at,
            revoked_at=row.revoked_at,
            version=row.version,
            tags=tuple(row.tags),
            owner_email=row.owner_email,
            note=row.note,
            spend=spend[row.id],
        )
        for row in rows
    )

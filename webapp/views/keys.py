"""Proxy keys as people and automation see them: with their state, and what they have spent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select

from shared import money
from shared.models import ProxyKey
from webapp.context import NotFound, now
from webapp.db import db
from webapp.validation import to_json_moment
from webapp.views.spend import SpendView, spend_of


@dataclass(frozen=True, slots=True)
class KeyView:
    """A proxy key. Moments are in UTC, `spend_limit_usd` is a decimal string."""

    id: str
    name: str
    prefix: str
    status: str
    paused: bool
    allowed_providers: tuple[str, ...]
    allowed_models: tuple[str, ...]
    allowed_ips: tuple[str, ...]
    rate_limit_rpm: int | None
    spend_limit_usd: str | None
    spend_limit_nanos: int | None
    spend_reset: str
    expires_at: datetime | None
    created_at: datetime
    created_by: str
    last_used_at: datetime | None
    revoked_at: datetime | None
    version: int
    spend: SpendView

    @property
    def etag(self) -> str:
        """The value of ETag and If-Match, without quotes."""
        return f"v{self.version}"

    def as_json(self) -> dict[str, Any]:
        """The key object of the management API."""
        return {
            "id": self.id,
            "name": self.name,
            "prefix": self.prefix,
            "status": self.status,
            "paused": self.paused,
            "allowed_providers": list(self.allowed_providers),
            "allowed_models": list(self.allowed_models),
            "allowed_ips": list(self.allowed_ips),
            "rate_limit_rpm": self.rate_limit_rpm,
            "spend_limit_usd": self.spend_limit_usd,
            "spend_reset": self.spend_reset,
            "expires_at": to_json_moment(self.expires_at),
            "created_at": to_json_moment(self.created_at),
            "created_by": self.created_by,
            "last_used_at": to_json_moment(self.last_used_at),
            "revoked_at": to_json_moment(self.revoked_at),
            "spend": {
                "spent_usd": self.spend.spent_usd,
                "held_usd": self.spend.held_usd,
                "remaining_usd": self.spend.remaining_usd,
                "period_start": to_json_moment(self.spend.period_start),
                "resets_at": to_json_moment(self.spend.resets_at),
                "lifetime_usd": self.spend.lifetime_usd,
            },
        }


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
    spend = spend_of(rows, at)
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
            spend_limit_usd=None if row.spend_limit_nanos is None else money.to_usd(row.spend_limit_nanos),
            spend_limit_nanos=row.spend_limit_nanos,
            spend_reset=row.spend_reset,
            expires_at=row.expires_at,
            created_at=row.created_at,
            created_by=row.created_by,
            last_used_at=row.last_used_at,
            revoked_at=row.revoked_at,
            version=row.version,
            spend=spend[row.id],
        )
        for row in rows
    )

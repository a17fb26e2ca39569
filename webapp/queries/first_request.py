"""How far a new organisation is: whether a first request was answered, and why the last one was not."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from shared.models import ProxyKey, Refusal, UsageRecord
from webapp.context import now
from webapp.db import db
from webapp.views.keys import KeyView, view_of
from webapp.views.requests import RefusalView, RequestView, refusal_view, request_view

_KEYS_LOOKED_AT = 50


@dataclass(frozen=True, slots=True)
class FirstRequest:
    """`answered` is the first request that a provider answered; until then `failed` and `refused` are the last ones.

    `key_id` is that of the key of whatever came last.
    """

    answered: RequestView | None
    failed: RequestView | None
    refused: RefusalView | None
    key_id: str | None


def first_request(org_id: str) -> FirstRequest:
    """Of an organisation."""
    sent = select(UsageRecord).where(UsageRecord.org_id == org_id, UsageRecord.adjusts.is_(None))
    # By time alone: an index tells which is first, and of thousands of one moment any will do.
    answered = _first(sent.where(UsageRecord.outcome == "ok").order_by(UsageRecord.admitted_at))
    if answered is not None:
        return FirstRequest(request_view(answered), None, None, answered.key_id)
    failed = _first(sent.order_by(UsageRecord.admitted_at.desc()))
    refused = db.session.scalar(
        select(Refusal).where(Refusal.org_id == org_id).order_by(Refusal.last_at.desc(), Refusal.reason).limit(1)
    )
    if refused is not None and (failed is None or refused.last_at >= failed.admitted_at):
        return FirstRequest(None, None, refusal_view(refused), refused.key_id)
    if failed is not None:
        return FirstRequest(None, request_view(failed), None, failed.key_id)
    return FirstRequest(None, None, None, None)


def newest_key(org_id: str) -> KeyView | None:
    """The newest key that works, for a first request; None if there is none among the newest."""
    at = now()
    query = select(ProxyKey).where(ProxyKey.org_id == org_id).order_by(ProxyKey.created_at.desc(), ProxyKey.id.desc())
    rows = db.session.scalars(query.limit(_KEYS_LOOKED_AT))
    return next((view_of(row) for row in rows if row.status(at) == "active"), None)


def _first(query: Select[Any]) -> UsageRecord | None:
    found: UsageRecord | None = db.session.scalar(query.limit(1))
    return found

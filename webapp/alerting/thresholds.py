"""Thresholds of a spend limit, a key's own or one for models: which are reached, and what is told of them."""

import hashlib
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

from sqlalchemy import func, or_, select

from shared import money
from shared.models import AuditEvent, Refusal
from shared.policy import Reason
from webapp.actions.alerts import Happened
from webapp.db import db
from webapp.schemas.alerts import SPEND
from webapp.schemas.values import to_json_moment
from webapp.views.calendar import begins

# From here on a key that was refused for its limit is said to have reached it: what is left fits no request of its.
_FULL_PERCENT = 95
EDIT = "key.update"  # as the audit log has it


class Used(NamedTuple):
    """What was spent of a limit in a period, of one that lets something be spent."""

    key: Any  # with id, name and prefix
    limit_nanos: int
    spent_nanos: int
    start: date
    end: date | None  # None: it never resets
    model: str | None = None  # the pattern of a limit for models

    @property
    def percent(self) -> int:
        """Of the limit, rounded down."""
        return self.spent_nanos * 100 // self.limit_nanos

    @property
    def is_nearly_full(self) -> bool:
        """Whether a refusal tells that it is reached."""
        return _FULL_PERCENT <= self.percent < 100


def refused(reason: Reason, org_id: str, key_ids: Collection[str]) -> dict[str, tuple[datetime, str | None]]:
    """When those of these keys were refused for a reason last, and for which model, if they were not edited since."""
    edits = select(func.max(AuditEvent.at)).where(
        AuditEvent.org_id == org_id, AuditEvent.target == Refusal.key_id, AuditEvent.action == EDIT
    )
    edited = edits.correlate(Refusal).scalar_subquery()
    query = select(Refusal.key_id, Refusal.last_at, Refusal.model).where(
        Refusal.key_id.in_(key_ids),
        Refusal.reason == reason.value,
        Refusal.org_id == org_id,
        or_(edited.is_(None), Refusal.last_at >= edited),
    )
    return {key_id: (at, model) for key_id, at, model in db.session.execute(query)} if key_ids else {}


def reached(used: Used, thresholds: Sequence[int], zone: str | None, *, full: bool) -> Iterator[Happened]:
    """Those of these thresholds, in per cent, that are reached. `full`: a refusal tells that all are."""
    for threshold in thresholds:
        if (100 if full else used.percent) >= threshold:
            yield _told(used, threshold, zone)


def _told(used: Used, threshold: int, zone: str | None) -> Happened:
    key, limit_nanos, spent_nanos, start, end, model = used
    resets_at = None if end is None else begins(end, zone)
    # Of another limit it is another thing, so that whoever changes it is told again; of one limit it is told once. A
    # pattern may be longer than what tells things apart.
    whose = "" if model is None else f" for {hashlib.sha256(model.encode()).hexdigest()[:12]}"
    return Happened(
        SPEND,
        key.id,
        f"{threshold} % of {limit_nanos} since {start}{whose}",
        {
            "key_id": key.id,
            "key_name": key.name,
            "key_prefix": key.prefix,
            **({} if model is None else {"model_limit": model}),
            "threshold_percent": threshold,
            "spent_percent": used.percent,
            "spent_usd": money.to_usd(spent_nanos),
            "spend_limit_usd": money.to_usd(limit_nanos),
            "period_start": None if end is None else to_json_moment(begins(start, zone)),
            "resets_at": to_json_moment(resets_at),
        },
        until=resets_at,
    )

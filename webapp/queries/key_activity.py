"""What the page of one key shows beside the key: what is left of its rate, its latest requests, refusals and edits."""

from dataclasses import dataclass

from shared.counters import CountersUnavailable
from webapp.context import counters
from webapp.queries.audit import AuditView, list_audit
from webapp.queries.requests import refusals_of_key, requests_of_key
from webapp.schemas.audit import AuditQuery
from webapp.schemas.explain import RefusalQuery, RequestQuery
from webapp.views.keys import KeyView
from webapp.views.requests import RefusalView, RequestView

_SHOWN = 10
_ALL_REASONS = 50  # more than there are


@dataclass(frozen=True, slots=True)
class Recent:
    """The latest of each, newest first."""

    requests: tuple[RequestView, ...]
    events: tuple[AuditView, ...]


def recent_of(org_id: str, key_id: str) -> Recent:
    """What a key did, and what was done with it. Raises NotFound."""
    return Recent(
        requests_of_key(org_id, key_id, RequestQuery(limit=_SHOWN)).items,
        list_audit(org_id, AuditQuery(target=key_id, limit=_SHOWN)).events,
    )


def refused(org_id: str, key_id: str) -> tuple[RefusalView, ...]:
    """Each reason for which a key was refused, the latest first. Raises NotFound."""
    return refusals_of_key(org_id, key_id, RefusalQuery(limit=_ALL_REASONS)).items


def requests_left(view: KeyView) -> int | None:
    """How many requests would be admitted at once, as the counters stand; None: no limit, or nobody can tell."""
    if view.rate_limit_rpm is None:
        return None
    try:
        row = counters().rows([view.id]).get(view.id)
        return view.rate_limit_rpm if row is None else row.rate(counters().moment(), view.rate_limit_rpm).remaining
    except CountersUnavailable:
        return None

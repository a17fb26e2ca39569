"""What the page of one key shows beside the key: what is left of its rate, its latest requests, refusals and edits."""

from dataclasses import dataclass

from shared.counters import CountersUnavailable, KeyRow
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


@dataclass(frozen=True, slots=True)
class KeyUse:
    """How much of what counts by the moment is in use; None: no limit, or nobody can tell."""

    requests_left: int | None  # would be admitted at once, by the rate limit
    tokens_left: int | None  # likewise
    in_flight: int | None


def use_of(view: KeyView) -> KeyUse:
    """As the counters stand."""
    rpm, tpm, most = view.rate_limit_rpm, view.rate_limit_tpm, view.max_concurrent_requests
    if rpm is None and tpm is None and most is None:
        return KeyUse(None, None, None)
    try:
        row, moment = counters().rows([view.id]).get(view.id) or KeyRow.new(), counters().moment()
    except CountersUnavailable:
        return KeyUse(None, None, None)
    return KeyUse(
        None if rpm is None else row.rate(moment, rpm).remaining,
        None if tpm is None else row.token_rate(moment, tpm).remaining,
        None if most is None else row.in_flight,
    )

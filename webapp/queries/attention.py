"""What keys are judged by beside their settings: their refusals of the last days, and what their requests cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from sqlalchemy import func, select

from shared import pricing
from shared.catalog import PROVIDERS, known_models
from shared.models import ProxyKey, Refusal, UsageDaily
from shared.policy.rules import matches_model
from shared.pricing import Size
from webapp.db import db
from webapp.views.attention import LONGEST_BLOCK, OF_ORGANIZATION, SMALL_CHANGE_NANOS, Facts, Judgement, Shared, judge
from webapp.views.custom_providers import own_providers
from webapp.views.key_lists import names_of_own
from webapp.views.keys import KeyView
from webapp.views.organization import limits_together, standing_of
from webapp.views.requests import RefusalView, refusal_view

_USUAL_DAYS = timedelta(days=30)
# The least that is usual where no request was made yet: some words, and the smallest output limit that we set.
_FIRST_REQUEST = Size(256, cache_writes=False)
_FIRST_OUTPUT_TOKENS = 4_096


@dataclass(frozen=True, slots=True)
class _Sum:
    requests: int
    cost_nanos: int


def judge_keys(keys: Sequence[KeyView], at: datetime) -> dict[str, Judgement]:
    """The judgement of each key, by its id."""
    facts = facts_of(keys, at)
    return {key.id: judge(key, facts[key.id], at) for key in keys}


def facts_of(keys: Sequence[KeyView], at: datetime) -> dict[str, Facts]:
    """By the id of the key. Two reads, however many keys, each of them by its key's rows alone.

    One more of their organisation, which is the same for all, where it may be why one of them was refused, and two of
    its own providers where one of them names such.
    """
    active = [key for key in keys if key.status == "active"]
    refusals, org_id = _refusals(active, at)
    usual = _usual([key for key in active if _is_low(key)], at)
    shared = None if org_id is None else _shared(org_id)
    own = _own(active)
    return {key.id: Facts(tuple(refusals.get(key.id, ())), usual.get(key.id), shared, own) for key in keys}


def _own(keys: Sequence[KeyView]) -> tuple[str, ...] | None:
    """The names of their organisation's own providers, if one of the keys has such a name in its lists."""
    named = next((key for key in keys if names_of_own(key.allowed_providers, key.allowed_models)), None)
    if named is None:
        return None
    org_id = db.session.scalar(select(ProxyKey.org_id).where(ProxyKey.id == named.id))
    return None if org_id is None else own_providers(org_id)


def _shared(org_id: str) -> Shared:
    if limits_together(org_id) is None:  # then nobody needs to know what all keys have spent
        return Shared()
    standing = standing_of(org_id)
    return Shared(standing.rate_limit_rpm, standing.spend.remaining_nanos)


def _refusals(keys: Sequence[KeyView], at: datetime) -> tuple[dict[str, list[RefusalView]], str | None]:
    """Those of each key, the latest first; and the organisation, if a limit of its may have been the cause of one."""
    found: dict[str, list[RefusalView]] = {}
    org_id = None
    if keys:
        query = (
            select(Refusal)
            .where(Refusal.key_id.in_([key.id for key in keys]), Refusal.last_at >= at - LONGEST_BLOCK)
            .order_by(Refusal.last_at.desc(), Refusal.reason)
        )
        for row in db.session.scalars(query):
            found.setdefault(row.key_id, []).append(refusal_view(row))
            if row.reason in OF_ORGANIZATION:
                org_id = row.org_id
    return found, org_id


def _is_low(key: KeyView) -> bool:
    left = key.spend.remaining_nanos
    return left is not None and 0 < left < SMALL_CHANGE_NANOS


def _usual(keys: Sequence[KeyView], at: datetime) -> dict[str, int]:
    """What a request of each key costs: on average of the last days, else the cheapest that it could make."""
    sums: dict[str, _Sum] = {}
    if keys:
        query = (
            select(UsageDaily.key_id, func.sum(UsageDaily.requests), func.sum(UsageDaily.cost_nanos))
            .where(UsageDaily.key_id.in_([key.id for key in keys]), UsageDaily.day >= (at - _USUAL_DAYS).date())
            .group_by(UsageDaily.key_id)
        )
        sums = {key_id: _Sum(int(requests), int(cost)) for key_id, requests, cost in db.session.execute(query)}
    usual = {}
    for key in keys:
        known = sums.get(key.id)
        if known is not None and known.requests:
            usual[key.id] = known.cost_nanos // known.requests
        elif (cheapest := _cheapest(key.allowed_providers, key.allowed_models, at.date())) is not None:
            usual[key.id] = cheapest
    return usual


@lru_cache(maxsize=1_024)
def _cheapest(providers: tuple[str, ...], patterns: tuple[str, ...], day: date) -> int | None:
    """The most that a small first request can cost, with the cheapest known model that a key may use.

    Only models that bill what they answer: few keys are for embeddings alone, and those are told by their refusals.
    """
    at = datetime.combine(day, time(), UTC).timestamp()
    bounds = []
    for slug in PROVIDERS:
        for name in known_models(slug) if not providers or slug in providers else ():
            if patterns and not any(matches_model(pattern, slug, name) for pattern in patterns):
                continue
            whole = pricing.bound(slug, name, _FIRST_REQUEST, at=at, output_limit=_FIRST_OUTPUT_TOKENS)
            if whole is not None and whole != pricing.bound(slug, name, _FIRST_REQUEST, at=at, output_limit=0):
                bounds.append(whole)
    return min(bounds, default=None)

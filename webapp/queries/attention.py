"""What keys are judged by beside their settings: their refusals of the last days, and what their requests cost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache

from sqlalchemy import func, select

from shared import pricing
from shared.catalog import PROVIDERS, known_models
from shared.custom_providers import has_model, plain_names
from shared.models import ProxyKey, Refusal, UsageDaily
from shared.policy.rules import matches_model
from shared.pricing import PriceBook, Size
from shared.pricing.rates import bound_sheet, own_price
from webapp.db import db
from webapp.queries.check import price_book
from webapp.queries.usable_providers import usable_providers
from webapp.views.attention import LONGEST_BLOCK, SMALL_CHANGE_NANOS, Facts, Judgement, judge
from webapp.views.custom_providers import custom_providers
from webapp.views.key_lists import Place, is_within, may_meet, names_of_own, open_places
from webapp.views.keys import KeyView
from webapp.views.organization import limited_standing
from webapp.views.requests import RefusalView, refusal_view
from webapp.views.standing_refusals import Shared

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
    """By the id of the key, all of one organisation. As many reads, however many keys: each by the keys' rows alone.

    What is the same for all of them is read once.
    """
    active = [key for key in keys if key.status == "active"]
    if not active:
        return {key.id: Facts() for key in keys}
    org_id = db.session.scalar(select(ProxyKey.org_id).where(ProxyKey.id == active[0].id))
    if org_id is None:
        return {key.id: Facts() for key in keys}
    refusals, shared, usable = _refusals(active, at), _shared(org_id), usable_providers(org_id)
    own: dict[str, tuple[str, ...]] | None = None
    if usable - PROVIDERS.keys() or any(names_of_own(key.allowed_providers, key.allowed_models) for key in active):
        own = {one.provider: one.models for one in custom_providers(org_id)}
    usual = _usual([key for key in active if _is_low(key, shared)], at)
    places = {key.id: open_places(key.allowed_providers, key.allowed_models, usable, own or {}) for key in active}
    unpriced = _unpriced({key.id: _capped(key, places[key.id], shared) for key in active}, own or {}, org_id, at)
    return {
        key.id: Facts(
            tuple(refusals.get(key.id, ())),
            usual.get(key.id),
            _least(key, usual.get(key.id), at),
            shared,
            own,
            usable,
            places.get(key.id),
            unpriced.get(key.id, frozenset()),
        )
        for key in keys
    }


def _shared(org_id: str) -> Shared:
    standing = limited_standing(org_id)
    if standing is None:
        return Shared()
    spend = standing.spend
    return Shared(
        standing.rate_limit_rpm,
        spend.remaining_nanos,
        spend.limit_nanos,
        spend.spent_nanos,
        spend.held_nanos,
        spend.resets_at,
    )


def _refusals(keys: Sequence[KeyView], at: datetime) -> dict[str, list[RefusalView]]:
    """Those of each key, the latest first."""
    found: dict[str, list[RefusalView]] = {}
    query = (
        select(Refusal)
        .where(Refusal.key_id.in_([key.id for key in keys]), Refusal.last_at >= at - LONGEST_BLOCK)
        .order_by(Refusal.last_at.desc(), Refusal.reason)
    )
    for row in db.session.scalars(query):
        found.setdefault(row.key_id, []).append(refusal_view(row))
    return found


def _capped(key: KeyView, places: Sequence[Place], shared: Shared) -> list[Place]:
    """Where what a request costs has to be known before it is sent."""
    if key.spend.limit_nanos is not None or shared.limit_nanos is not None:
        return list(places)
    return [place for place in places if any(is_within(place, one.model) for one in key.model_limits)]


def _is_low(key: KeyView, shared: Shared) -> bool:
    """Whether so little is left that a usual request may not fit: none costs more than all that were made."""
    lefts = [
        key.spend.remaining_nanos,
        shared.remaining_nanos,
        *(one.spend.remaining_nanos for one in key.model_limits),
    ]
    most = max(SMALL_CHANGE_NANOS, key.spend.lifetime_nanos)
    return any(left is not None and 0 < left < most for left in lefts)


def _unpriced(
    capped: Mapping[str, Sequence[Place]], own: Mapping[str, Sequence[str]], org_id: str, at: datetime
) -> dict[str, frozenset[Place]]:
    """Those places of each key where no model has a price: neither the table's nor one of the organisation's own."""
    unknown = {
        key_id: [place for place in places if not _is_priced(*place, at.date())] for key_id, places in capped.items()
    }
    book = price_book(org_id) if any(unknown.values()) else None
    return {
        key_id: frozenset(place for place in places if not _has_own_price(place, own, book or {}))
        for key_id, places in unknown.items()
    }


@lru_cache(maxsize=4_096)
def _is_priced(slug: str, glob: str, day: date) -> bool:
    """Whether the price table may have a model, or it needs no price: moderation is free.

    Of an organisation's own provider the table knows nothing. What is no single name may be one that has a price.
    """
    at = datetime.combine(day, time(), UTC).timestamp()
    return slug in PROVIDERS and (
        not plain_names((glob,)) or "moderation" in glob or bool(bound_sheet(slug, glob, None, None, at))
    )


def _has_own_price(place: Place, own: Mapping[str, Sequence[str]], book: PriceBook) -> bool:
    slug, glob = place
    if plain_names((glob,)):
        return own_price(book, slug, glob) is not None
    models = own.get(slug, ())
    return any(at == slug and may_meet(glob, model) and has_model(models, model) for at, model in book)


def _least(key: KeyView, usual: int | None, at: datetime) -> int | None:
    """The least that is usual for some of its models, where a limit is for some alone."""
    if usual is None or not key.model_limits:
        return usual
    cheapest = _cheapest(key.allowed_providers, key.allowed_models, at.date())
    return usual if cheapest is None else min(usual, cheapest)


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

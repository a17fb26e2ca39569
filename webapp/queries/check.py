"""What would become of a request: judged as the proxy judges it, by the key and the counters as they stand.

Nothing is charged or kept. The request is the smallest of its kind, without any text, and where it does not fit, its
input is taken as counted by the provider, which the proxy may ask: what it is refused for, all are.
"""

from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec.structs import replace
from sqlalchemy import select

from shared.catalog import NOT_METERED, Kind
from shared.counters import (
    Refusal,
    SpendState,
)
from shared.custom_refusals import refusal_of, removed, told_first
from shared.judgement import LEAST_BOUND, explained, judge, not_configured, refused
from shared.models import PriceOverride, snapshot_of
from shared.output_limits import accepted_limit
from shared.policy import Deny, KeySnapshot, Reason, check_key, limits_for
from shared.pricing import Bound, PriceBook, Size, TokenBound, book_of, bound_tokens
from webapp.context import now
from webapp.db import db
from webapp.queries.check_limits import Standing, refused_by, standing_of
from webapp.queries.check_place import CheckPlace, place_of
from webapp.queries.usable_providers import usable_providers
from webapp.schemas.explain import CheckRequest
from webapp.validation import FieldError, Invalid, read
from webapp.views.calendar import zone_of
from webapp.views.check import CheckView
from webapp.views.custom_providers import CustomView, custom_providers
from webapp.views.keys import row_of
from webapp.views.organization import limits_together

# Refusals that the provider's count of the input may cure.
_WANTS = frozenset(
    {
        Reason.SPEND_EXCEEDED,
        Reason.SPEND_HELD,
        Reason.MODEL_SPEND_EXCEEDED,
        Reason.MODEL_SPEND_HELD,
        Reason.ORGANIZATION_SPEND_EXCEEDED,
        Reason.ORGANIZATION_SPEND_HELD,
        Reason.TOKEN_RATE_LIMITED,
    }
)
_OUTPUT_FREE = (Kind.EMBEDDINGS, Kind.EMBED)


def check_request(org_id: str, key_id: str, document: Mapping[str, object]) -> CheckView:
    """Whether the proxy would let out what a `CheckRequest` says.

    Raises NotFound for an unknown key, Invalid for what is no request.
    """
    at = now().timestamp()
    own = {one.provider: one for one in custom_providers(org_id, also_removed=True)}
    asked = read(CheckRequest, document, providers=tuple(own))
    key = snapshot_of(row_of(org_id, key_id), at, limits_together(org_id), zone_of(org_id))
    if key.allowed_networks and asked.ip is None:
        raise Invalid(FieldError("ip", "is required: this key may be used from some addresses only"))
    deny = check_key(key, asked.ip, at)
    if deny is not None:
        return CheckView(deny)
    place = place_of(key, asked, own)
    if isinstance(place, Deny):
        return CheckView(place, model=asked.model)
    standing, book, size = standing_of(key), price_book(org_id), _size(place, asked)
    found = _judged(org_id, key, asked, place, size, standing, book, at, own.get(place.provider.slug))
    if size is None or found.deny is None or found.deny.reason not in _WANTS:
        return found
    counted = replace(size, counted_tokens=0)
    return _judged(org_id, key, asked, place, counted, standing, book, at, own.get(place.provider.slug))


def _judged(
    org_id: str,
    key: KeySnapshot,
    asked: CheckRequest,
    place: CheckPlace,
    size: Size | None,
    standing: Standing | None,
    book: PriceBook | None,
    at: float,
    own: CustomView | None,
) -> CheckView:
    """By all rules and limits, of this size. `own` is the provider, if it is one of the organisation's own."""
    provider, model, slug = place.provider, place.model, place.provider.slug
    free = place.endpoint is not None and place.endpoint.kind is Kind.FREE
    models = limits_for(key.model_limits, slug, model)
    left = None if standing is None else standing.remaining_nanos(key, models)
    deny: Deny | None = None
    verdict, bound_nanos, limit = judge(key, asked.ip, slug, model, size, lambda *_, **__: left, book, at, free=free)
    unsent = _own_refusal(own, place, asked.path)
    if isinstance(verdict, Deny) or unsent is not None:
        deny = told_first(verdict, unsent)
    elif slug not in usable_providers(org_id):
        deny = not_configured(slug, provider.label)
    else:
        answer = refused_by(key, verdict.charges, standing)

        def bound(spend: SpendState) -> Bound:
            if size is None:
                return LEAST_BOUND
            # What is told to fit has to fit both limits, whichever of them refuses.
            least = spend.remaining_nanos or 0 if left is None else left
            return explained(slug, model, size, least, limit, book, at)

        def tokens(left_of_them: int) -> TokenBound | None:
            if size is None:
                return None
            return bound_tokens(slug, model or "", size, at=at, left=left_of_them, output_limit=limit, book=book)

        if isinstance(answer, Refusal):
            deny = refused(key, answer, bound, tokens)
        elif answer is not None:
            deny = Deny(Reason.LIMITS_UNAVAILABLE)
    return CheckView(deny, slug, model, place.path, 0 if free else bound_nanos, limit)


def _own_refusal(one: CustomView | None, place: CheckPlace, path: str | None) -> Deny | None:
    """What of a provider of the organisation's own the proxy would refuse a request for."""
    if one is None:
        return None
    if one.removed:
        return removed(one.provider, in_path=path is not None and path.startswith(f"/{one.provider}/"))
    base = urlsplit(one.base_url).path
    return refusal_of(one.provider, base, place.path, one.models, place.model, enabled=one.enabled)


def _size(place: CheckPlace, asked: CheckRequest) -> Size | None:
    endpoint, limit = place.endpoint, asked.max_tokens
    if endpoint is None or endpoint.kind in NOT_METERED:
        return None
    # Messages have a limit, so one without comes by another endpoint and is translated.
    made_up = accepted_limit(place.provider.slug, place.model or "") if endpoint.kind is Kind.MESSAGES else None
    free = endpoint.kind in _OUTPUT_FREE
    return Size(0, output_limit=limit, output_default=made_up, output_free=free, cache_writes=False)


def price_book(org_id: str) -> PriceBook | None:
    query = select(PriceOverride.id, PriceOverride.provider, PriceOverride.model, PriceOverride.rates)
    return book_of(db.session.execute(query.where(PriceOverride.org_id == org_id)))

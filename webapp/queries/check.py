"""What would become of a request: judged as the proxy judges it, by the key and the counters as they stand.

Nothing is charged or kept. The request is the smallest of its kind, without any text, and where it does not fit, its
input is taken as counted by the provider, which the proxy may ask: what it is refused for, all are.
"""

from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import current_app
from msgspec.structs import replace
from sqlalchemy import select

from shared import path_case
from shared.catalog import NOT_METERED, PROVIDERS, Endpoint, Kind, Provider, find_endpoint, provider_of_model
from shared.config import Settings
from shared.counters import (
    Refusal,
    SpendState,
)
from shared.custom_providers import goes_to_fallback, may_be_name, path_below, provider_named
from shared.custom_refusals import no_endpoint, refusal_of, removed, told_first
from shared.judgement import LEAST_BOUND, explained, judge, nobodys_model, not_configured, refused
from shared.models import PriceOverride, snapshot_of
from shared.output_limits import accepted_limit
from shared.policy import Deny, KeySnapshot, Reason, check_key, limits_for
from shared.pricing import Bound, PriceBook, Size, TokenBound, book_of, bound_tokens
from shared.translated import BY_MODEL, FALLBACKS, OWN_ALONE, path_by_model
from webapp.context import now
from webapp.db import db
from webapp.queries.check_limits import Standing, refused_by, standing_of
from webapp.queries.check_paths import told_by_path
from webapp.queries.usable_providers import usable_providers
from webapp.schemas.explain import CheckRequest
from webapp.validation import FieldError, Invalid, read
from webapp.views.calendar import zone_of
from webapp.views.check import CheckView
from webapp.views.custom_providers import CustomView, custom_providers
from webapp.views.keys import row_of
from webapp.views.organization import limits_together

_WHERE_NONE_IS_SAID = "/v1/chat/completions"
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
    place = _place(key, asked, own)
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
    place: "_Place",
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


class _Place(NamedTuple):
    """Where a request goes."""

    provider: Provider
    endpoint: Endpoint | None  # None: the catalog does not list the path
    path: str
    model: str | None


def _place(key: KeySnapshot, asked: CheckRequest, own: Mapping[str, CustomView]) -> _Place | Deny:
    """The provider's own path, perhaps behind the provider's name, or where the proxy leads chat completions."""
    slug, model, path = asked.provider, asked.model, asked.path
    if path is not None and ((named := path[1:].partition("/")[0]) in PROVIDERS or named in own):
        if slug not in (None, named):
            raise Invalid(FieldError("provider", f"is {slug}, and the path leads to {named}"))
        slug, path = named, path.removeprefix(f"/{named}")
        if named in own and (path := path_below(path)) is None:
            return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": "There is no endpoint at this address."})
    unified = slug is None
    if slug is None:
        told = told_by_path(model, path)
        if isinstance(told, Deny):
            return told
        model, path = told
        if model is None:
            raise Invalid(FieldError("provider", "is required where neither the path nor a model tells it"))
        found = _serving(model, path or _WHERE_NONE_IS_SAID, own)
        if found is None:
            return nobodys_model(key, model)
        slug, model = found
        if slug in own and path is not None and path not in BY_MODEL:
            return removed(slug, in_path=False) if own[slug].removed else no_endpoint(slug, path.removeprefix("/v1"))
    provider = PROVIDERS[slug] if slug in PROVIDERS else provider_named(slug, own[slug].auth)
    if unified and path in (None, *BY_MODEL):
        path = path_by_model(path or _WHERE_NONE_IS_SAID, provider)
    elif path is None:
        path = provider.endpoints[0].path.replace("{model}", model or "{model}")
    endpoint, path_model = find_endpoint(provider, "POST", path) or (None, None)
    right = path.lower() if path.lower() in BY_MODEL else path_case.meant(provider, path)
    if endpoint is None and right not in (None, path):
        before = f"/{slug}" if (asked.path or "").startswith(f"/{slug}/") else ""
        return Deny(Reason.UNKNOWN_ENDPOINT, {"detail": path_case.sentence(f"{before}{right}")})
    if path_model is not None and model not in (None, path_model):
        raise Invalid(FieldError("model", f"is not the one in the path, {path_model}"))
    model = path_model or model
    metered = endpoint is not None and endpoint.kind not in NOT_METERED
    if model is None and (metered or "{model}" in path):
        raise Invalid(FieldError("model", f"is required at {path}"))
    return _Place(provider, endpoint, path, model)


def _serving(model: str, path: str, own: Mapping[str, CustomView]) -> tuple[str, str] | None:
    """Whose a model is where it tells the provider, and its name there; None: nobody's."""
    found = None if path in OWN_ALONE else provider_of_model(model)
    if found is not None:
        return found
    name, _, bare = model.partition("/")
    named = bool(bare) and may_be_name(name)
    if named and name in own:
        return name, bare
    fallback = FALLBACKS.get(path)
    if fallback is None:
        return None
    settings: Settings = current_app.extensions["settings"]
    usual = PROVIDERS[fallback].base_url
    is_usual = settings.provider_urls.get(fallback, usual) == usual
    return (fallback, model) if not named or goes_to_fallback(own, usual=is_usual) else None


def _own_refusal(one: CustomView | None, place: _Place, path: str | None) -> Deny | None:
    """What of a provider of the organisation's own the proxy would refuse a request for."""
    if one is None:
        return None
    if one.removed:
        return removed(one.provider, in_path=path is not None and path.startswith(f"/{one.provider}/"))
    base = urlsplit(one.base_url).path
    return refusal_of(one.provider, base, place.path, one.models, place.model, enabled=one.enabled)


def _size(place: _Place, asked: CheckRequest) -> Size | None:
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

"""Requests for a provider of the organisation's own: where they lead, what is refused, and how they are sent.

Which providers there are is known with the key. So what was found by an older snapshot is looked at once more when the
request is admitted: its address may have been edited meanwhile, or it may be removed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from urllib.parse import unquote

from proxyd.custom_providers import Custom
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.known_key import KnownKey
from proxyd.messages import Origin
from proxyd.providers import COMPATIBLE, Dialect
from proxyd.translation import Translation
from shared import routing
from shared.custom_providers import models_of as known_by_name
from shared.custom_providers import path_there
from shared.custom_refusals import refusal_of, removed
from shared.policy import Deny, Reason
from shared.routing import Named, Place, Unified, Unknown, WrongMethod
from shared.translated import TRANSLATED, spoken_as

_VERSION = "/v1"  # before our paths; what stands in its place over there is told by the base URL
_API_VERSION = "api-version"


def at_path(custom: Custom, method: str, path: str) -> Target | WrongMethod | Unknown:
    """Its endpoint at a path of its own."""
    found = routing.at(custom.provider, method, path, f"/{custom.provider.slug}{path}")
    if not isinstance(found, Place):
        return found
    return Target(*found, "openai", _header(custom), custom=custom)


def by_model(custom: Custom, route: Unified) -> Target | Unknown:
    """Its endpoint for a request that names one of its models."""
    provider, kind = custom.provider, route.endpoint.kind
    place = routing.chosen_by_model(route.path, provider)
    if isinstance(place, Unknown):
        return place
    translation = None
    if place.endpoint is not None and (kind, spoken_as(provider.slug)) in TRANSLATED:
        translation = Translation(kind, provider.slug, place.endpoint, custom.limit_name, custom.stream_options)
    return Target(*place, "openai", _header(custom), translation, custom)


def models_of(known: KnownKey) -> Mapping[str, Sequence[str]]:
    """Of each that is in use the models that are known by name: from its list, and from the prices."""
    priced: dict[str, list[str]] = {}
    for slug, model in known.prices or ():
        priced.setdefault(slug, []).append(model)
    in_use = ((name, one) for name, one in known.custom.items() if one.enabled and not one.removed)
    return {name: known_by_name(one.models, priced.get(name, ())) for name, one in in_use}


def card_at(known: KnownKey, model: str) -> Target | None:
    """Where the card of a model is that names one of them; None: it names none."""
    name, _, bare = model.partition("/")
    own = known.custom.get(name)
    found = None if own is None or not bare else at_path(own, "GET", f"{_VERSION}/models/{bare}")
    return found if isinstance(found, Target) else None


def refusal(known: KnownKey, context: RequestContext) -> Deny | None:
    """Why it is not sent there, by what is known of the provider now; its address is from then on the present one."""
    target = context.target
    name = target.provider.slug
    current = known.custom.get(name)
    if current is None or current.removed:
        return removed(name, in_path=isinstance(context.head.match.route, Named))
    if current is not target.custom:
        header = _header(current)
        context.target = replace(target, provider=current.provider, credential_header=header, custom=current)
    model, parsed = context.model, context.parsed
    deny = refusal_of(name, current.base, target.path, current.models, model, enabled=current.enabled)
    if deny is not None or parsed is None:
        return deny
    if parsed.document.get("background") is True:
        return _not_taken("background", name, "what is answered later could not be metered.")
    steering = None if parsed.elsewhere is None else parsed.elsewhere.steering
    if steering is not None and (known.key.allowed_models or known.key.capped or known.key.model_limits):
        return _not_taken(steering, name, "it may lead to another model than the key and its limit were asked about.")
    return None


def _not_taken(field: str, name: str, why: str) -> Deny:
    detail = f"{field} is not taken for {name}: {why}"
    return Deny(Reason.INVALID_REQUEST, {"detail": detail, "param": field})


def place_of(custom: Custom, target: Target, model: str | None) -> tuple[Origin, str]:
    """Where a request is sent, and the path there."""
    return custom.origin, path_there(custom.base, target.path, model) or target.path


def query_of(custom: Custom, query: str) -> str:
    """The client's query with the api-version of the provider, where it has one, in the place of any other."""
    if custom.api_version is None:
        return query
    kept = [piece for piece in query.split("&") if piece and unquote(piece.partition("=")[0]).lower() != _API_VERSION]
    return "&".join((*kept, f"{_API_VERSION}={custom.api_version}"))


def dialect_of(custom: Custom, *, limited: bool) -> Dialect:
    """By which a body is changed; `limited`: of a key whose spend limit the bound of its output is held against."""
    return COMPATIBLE[custom.limit_name, custom.stream_options, limited]


def _header(custom: Custom) -> tuple[bytes, bytes]:
    return custom.provider.auth_header, custom.provider.auth_prefix

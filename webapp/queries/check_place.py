"""Where a request would go that somebody asks about, found by the proxy's own rules."""

from collections.abc import Mapping
from typing import NamedTuple

from flask import current_app

from shared import routing
from shared.catalog import NOT_METERED, PROVIDERS, Endpoint, Provider, bare_model, find_endpoint, provider_of_model
from shared.config import Settings
from shared.custom_providers import goes_to_fallback, may_be_name, path_below, provider_named
from shared.custom_refusals import no_endpoint, removed
from shared.judgement import nobodys_model
from shared.policy import Deny, KeySnapshot
from shared.routing import Named, Place, Unified, Unknown
from shared.translated import BY_MODEL, FALLBACKS, GATEWAY_FALLBACK
from webapp.schemas.explain import CheckRequest
from webapp.validation import FieldError, Invalid
from webapp.views.custom_providers import CustomView

_METHOD = "POST"
_WHERE_NONE_IS_SAID = "/v1/chat/completions"
_OWN = Mapping[str, CustomView]  # the organisation's own providers by name, those that were removed too


class CheckPlace(NamedTuple):
    """Where a request goes, and for which model."""

    provider: Provider
    endpoint: Endpoint | None  # None: the catalog does not list the path
    path: str
    model: str | None


def place_of(key: KeySnapshot, asked: CheckRequest, own: _OWN) -> CheckPlace | Deny:
    """The place of what is asked about, or what the proxy would answer there. Raises Invalid for what is no request."""
    slug, model, path = asked.provider, asked.model, asked.path
    if path is not None and routing.holds_a_key(path):
        return routing.nowhere(Unknown(routing.HOLDS_A_KEY))
    if path is None:
        if slug is not None:
            return _checked(_usual(_provider(slug, own), model), model)
        if model is None:
            raise Invalid(FieldError("provider", "is required where neither the path nor a model tells it"))
    found = routing.leads_to(_METHOD, *_as_sent(path or _WHERE_NONE_IS_SAID, slug, model, own))
    if isinstance(found, Unified):
        return _by_model(key, found, slug, model, own)
    if isinstance(found, Named):
        if found.name not in own:
            return routing.nowhere(found.otherwise)
        found = routing.at(_provider(found.name, own), _METHOD, found.path, f"/{found.name}{found.path}")
    if not isinstance(found, Place):
        return routing.nowhere(found)
    serving = found.provider.slug
    if slug not in (None, serving):
        raise Invalid(FieldError("provider", f"is {slug}, and the path leads to {serving}"))
    elsewhere = None if path is None or model is None else _elsewhere(key, path, serving, model, own)
    return elsewhere or _checked(found, model)


def _provider(slug: str, own: _OWN) -> Provider:
    return PROVIDERS[slug] if slug in PROVIDERS else provider_named(slug, own[slug].auth)


def _usual(provider: Provider, model: str | None) -> Place:
    """A provider's chat."""
    name = "{model}" if model is None else bare_model(provider.slug, model)
    path = provider.endpoints[0].path.replace("{model}", name)
    endpoint, path_model = find_endpoint(provider, _METHOD, path) or (None, None)
    return Place(provider, endpoint, path, path_model)


def _as_sent(path: str, slug: str | None, model: str | None, own: _OWN) -> tuple[str, str]:
    """The path as a client of the proxy sends it, and whose SDK that would be.

    Beside a provider stands what is its own, perhaps behind its name; what it does not have is taken for the proxy's.
    """
    if slug is None:
        return path, "openai" if path in BY_MODEL else _speaker(path, model)
    if path[1:].partition("/")[0] in (*PROVIDERS, *own):
        return path, "openai"
    has = path_below(path) if slug in own else find_endpoint(PROVIDERS[slug], _METHOD, path)
    by_model = path.lower() in BY_MODEL or isinstance(routing.leads_to(_METHOD, path), Unified)
    return path if has is None and by_model else f"/{slug}{path}", "openai"


def _speaker(path: str, model: str | None) -> str:
    """Whose SDK sends a path, where that decides who is asked: whoever alone has it, else whose model it is."""
    found = [routing.leads_to(_METHOD, path, slug) for slug in PROVIDERS]
    if all(other == found[0] for other in found):
        return "openai"
    having = [slug for slug, provider in PROVIDERS.items() if find_endpoint(provider, _METHOD, path) is not None]
    if len(having) == 1:
        return having[0]
    if model is None:
        raise Invalid(FieldError("provider", f"is required at {path}, where it is told by the SDK that calls"))
    serving = provider_of_model(model)
    return "openai" if serving is None else serving[0]


def _checked(place: Place, model: str | None) -> CheckPlace:
    """With its model, which the path may name."""
    provider, endpoint, path, path_model = place
    model = None if model is None else bare_model(provider.slug, model)
    if path_model is not None and model not in (None, path_model):
        raise Invalid(FieldError("model", f"is not the one in the path, {path_model}"))
    metered = endpoint is not None and endpoint.kind not in NOT_METERED
    if path_model is None and model is None and (metered or "{model}" in path):
        raise Invalid(FieldError("model", f"is required at {path}"))
    return CheckPlace(provider, endpoint, path, path_model or model)


def _by_model(key: KeySnapshot, route: Unified, slug: str | None, model: str | None, own: _OWN) -> CheckPlace | Deny:
    """Where the proxy leads a request whose model tells the provider."""
    if route.path_model is not None and model not in (None, route.path_model):
        raise Invalid(FieldError("model", f"is not the one in the path, {route.path_model}"))
    model = route.path_model or model
    if model is None:
        raise Invalid(FieldError("model", f"is required at {route.path}"))
    found = _serving(model, route, own)
    if found is None:
        return nobodys_model(key, model)
    serving, bare = found
    if slug not in (None, serving):
        raise Invalid(FieldError("provider", f"is {slug}, and at {route.path} the model leads to {serving}"))
    place: Place | Unknown
    if route.path_model is not None and serving == GATEWAY_FALLBACK:
        place = routing.as_it_stands(route, bare)
    else:
        place = routing.chosen_by_model(route.path, _provider(serving, own))
    return routing.nowhere(place) if isinstance(place, Unknown) else _checked(place, bare)


def _serving(model: str, route: Unified, own: _OWN) -> tuple[str, str] | None:
    """Whose a model is, and its name there; None: nobody's."""
    found = None if route.own_alone else provider_of_model(model)
    if found is not None:
        return found
    name, _, bare = model.partition("/")
    named = bool(bare) and may_be_name(name)
    if named and name in own:
        return name, bare
    fallback = route.fallback
    if route.path_model is not None and not _is_usual(GATEWAY_FALLBACK):
        fallback = GATEWAY_FALLBACK
    if fallback is None:
        return None
    return (fallback, model) if not named or goes_to_fallback(own, usual=_is_usual(fallback)) else None


def _elsewhere(key: KeySnapshot, path: str, slug: str, model: str, own: _OWN) -> Deny | None:
    """The refusal of a model of the organisation's own at a path of another provider's SDK."""
    name, _, bare = model.partition("/")
    if not own or not bare or not path.startswith("/v1/") or not may_be_name(name) or slug in own:
        return None
    if name not in own:
        return nobodys_model(key, model) if slug in FALLBACKS.values() and _is_usual(slug) else None
    return removed(name, in_path=False) if own[name].removed else no_endpoint(name, path.removeprefix("/v1"))


def _is_usual(slug: str) -> bool:
    """Whether a built-in provider is asked at its own address, behind which are its models alone."""
    settings: Settings = current_app.extensions["settings"]
    usual = PROVIDERS[slug].base_url
    return settings.provider_urls.get(slug, usual) == usual

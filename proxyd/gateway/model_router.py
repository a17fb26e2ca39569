"""Who serves a model, or a name in a path: a built-in provider, or one of the organisation's own."""

import time
from collections.abc import Callable, Mapping
from functools import partial

from msgspec import Struct

from proxyd.custom_providers import Custom
from proxyd.gateway import custom, rejection
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.body_reader import BodyReader
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Target
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.gateway.route import unified_target
from proxyd.known_key import KnownKey
from proxyd.messages import Origin, origin_of
from proxyd.providers import Parsed, adapted
from shared.catalog import PROVIDERS, credential_header, provider_of_model
from shared.custom_providers import goes_to_fallback, may_be_name
from shared.custom_refusals import no_endpoint, removed
from shared.judgement import nobodys_model
from shared.policy import Allow, Deny, PolicyQuery, Reason, evaluate
from shared.routing import Named, Unified, Unknown, as_it_stands
from shared.translated import FALLBACKS, GATEWAY_FALLBACK


def at_usual_address(origins: Mapping[str, tuple[Origin, str]]) -> frozenset[str]:
    """The built-in providers that no setting has given another address, behind which could be other models."""
    return frozenset(slug for slug, origin in origins.items() if origin == origin_of(PROVIDERS[slug].base_url))


class ModelRouter(Struct, frozen=True):
    """Finds it for one worker."""

    admission: AdmissionController
    bodies: BodyReader
    usual: frozenset[str]  # built-in providers at their usual addresses
    now: Callable[[], float] = time.time

    def route(self, context: RequestContext, route: Unified, known: KnownKey, parsed: Parsed) -> Rejection | None:
        """Which provider serves the model of a body, and under which name."""
        asked = parsed.model
        found = None if asked is None or route.own_alone else provider_of_model(asked)
        target: Target | Unknown
        if found is not None:
            target, model = unified_target(route, PROVIDERS[found[0]]), found[1]
        else:
            other = self._other(context, route, known, parsed)
            if isinstance(other, Rejection):
                return other
            target, model = other
        if isinstance(target, Unknown):
            return rejected(Reason.UNKNOWN_ENDPOINT, detail=target.detail)
        context.lead_to(target, model)
        if (translation := target.translation) is None:
            context.new_model = None if model == asked else model
            if target.custom is not None:
                context.parsed = adapted(parsed)
            return None
        refused = refuse_model(self.admission, known, context, self.now())
        return refused or self.bodies.translate(context, known, translation, parsed, model)

    def _other(
        self, context: RequestContext, route: Unified, known: KnownKey, parsed: Parsed
    ) -> tuple[Target | Unknown, str] | Rejection:
        """Where a model leads that no built-in provider is known to have."""
        asked, fallback = parsed.model, route.fallback
        if route.path_model is not None and GATEWAY_FALLBACK not in self.usual:
            fallback = GATEWAY_FALLBACK
        name, slash, model = (asked or "").partition("/")
        named = bool(slash and model) and may_be_name(name)
        own = known.custom.get(name) if named else None
        if own is None:
            falls = not named or goes_to_fallback(known.custom, usual=fallback in self.usual)
            if asked is not None and fallback is not None and falls:
                if named:  # asks nobody anything, unless the counters tell that the organisation was edited
                    context.reroute = partial(self._reroute, context, route, parsed)
                if route.path_model is not None:
                    return _at_gateway(context, route, asked), asked
                return unified_target(route, PROVIDERS[fallback]), asked
            # Nothing of it is admitted, and what is told depends on the key: so an edit has to be looked for.
            current = self.admission.revalidate(known, context)
            if isinstance(current, Rejection):
                return current
            own = current.custom.get(name) if named else None
            if own is None:
                return Rejection(nobodys_model(current.key, asked))
        return custom.by_model(own, route), model

    def refuse_elsewhere(self, context: RequestContext, known: KnownKey) -> Rejection | None:
        """The refusal of a model of the organisation's own at a path that belongs to another provider's SDK."""
        asked, path = context.model, context.request.path
        name, slash, model = (asked or "").partition("/")
        if not slash or not model or not path.startswith("/v1/") or not may_be_name(name):
            return None
        slug = context.target.provider.slug
        if name not in known.custom and (slug not in FALLBACKS.values() or slug not in self.usual):
            context.reroute = partial(self.refuse_elsewhere, context)
            return None
        current = self.admission.revalidate(known, context)
        if isinstance(current, Rejection):
            return current
        own = current.custom.get(name)
        if own is None:
            return Rejection(nobodys_model(current.key, asked))
        tail = path.removeprefix("/v1")
        return Rejection(removed(name, in_path=False) if own.removed else no_endpoint(name, tail))

    def _reroute(self, context: RequestContext, route: Unified, parsed: Parsed, known: KnownKey) -> Rejection | None:
        context.reroute = None
        return self.route(context, route, known, parsed)

    def named(self, context: RequestContext, known: KnownKey, route: Named) -> Target | Rejection:
        """What a path leads to that begins with a name."""
        own = self._own(context, known, route.name)
        if isinstance(own, Rejection):
            return own
        if own is None:
            return rejection.nowhere(route.otherwise)
        found = custom.at_path(own, context.request.method, route.path)
        return found if isinstance(found, Target) else rejection.nowhere(found)

    def _own(self, context: RequestContext, known: KnownKey, name: str) -> Custom | Rejection | None:
        """The organisation's provider of this name. What a snapshot does not have may have been added since."""
        own = known.custom.get(name)
        if own is not None:
            return own
        current = self.admission.revalidate(known, context)
        return current if isinstance(current, Rejection) else current.custom.get(name)


def _at_gateway(context: RequestContext, route: Unified, model: str) -> Target:
    """What stands at the address that was asked, of the same version."""
    place = as_it_stands(route, model, context.request.path.split("/", 2)[1])
    credential = credential_header(place.provider, place.path)
    return Target(place.provider, place.endpoint, place.path, model, route.endpoint.dialect, credential)


def refuse_model(
    admission: AdmissionController, known: KnownKey, context: RequestContext, now: float
) -> Rejection | None:
    """The refusal of a provider or a model that the key may not use, before more is done for it. Takes nothing."""
    if not known.key.allowed_providers and not known.key.allowed_models:
        return None  # else nothing but `admit` can refuse it
    query = PolicyQuery(context.client_ip, context.target.provider.slug, context.model, metered=True, bound_nanos=0)
    if isinstance(evaluate(known.key, query, now), Allow):
        return None
    current = admission.revalidate(known, context)
    if isinstance(current, Rejection):
        return current
    verdict = evaluate(current.key, query, now)
    return Rejection(verdict) if isinstance(verdict, Deny) else None

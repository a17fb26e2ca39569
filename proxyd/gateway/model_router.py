"""Who serves a model, or a name in a path: a built-in provider, or one of the organisation's own."""

from dataclasses import dataclass

from proxyd.custom_providers import Custom
from proxyd.gateway import custom, rejection
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.body_reader import BodyReader
from proxyd.gateway.context import RequestContext
from proxyd.gateway.destinations import Named, Target, Unified, Unknown, WrongMethod
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.gateway.route import unified_target
from proxyd.key_cache import KnownKey
from proxyd.providers import Parsed
from shared.catalog import PROVIDERS, provider_of_model
from shared.custom_providers import may_be_name
from shared.judgement import nobodys_model
from shared.policy import Reason


@dataclass(frozen=True, slots=True)
class ModelRouter:
    """Finds it for one worker."""

    admission: AdmissionController
    bodies: BodyReader

    def route(self, context: RequestContext, route: Unified, known: KnownKey, parsed: Parsed) -> Rejection | None:
        """Which provider serves the model of a body, and under which name."""
        asked = parsed.model
        found = None if asked is None else provider_of_model(asked)
        target: Target | Unknown | None = None
        if found is not None:
            slug, model = found
        elif asked is not None:
            name, slash, model = asked.partition("/")
            own = self._own(context, known, name) if slash and model and may_be_name(name) else None
            if isinstance(own, Rejection):
                return own
            if own is not None:
                target = custom.by_model(own, route)
            elif route.fallback is not None:
                slug, model = route.fallback, asked
            else:
                return self._nobodys(context, known, asked)
        else:
            return self._nobodys(context, known, asked)
        if target is None:
            target = unified_target(route, PROVIDERS[slug])
        if isinstance(target, Unknown):
            return rejected(Reason.UNKNOWN_ENDPOINT, detail=target.detail)
        context.lead_to(target, model)
        if (translation := target.translation) is None:
            if model != asked:
                context.new_model = model
            return None
        refused = self.admission.refuse_model(known, context)
        return refused or self.bodies.translate(context, known, translation, parsed, model)

    def named(self, context: RequestContext, known: KnownKey, route: Named) -> Target | Rejection:
        """What a path leads to that begins with a name."""
        own = self._own(context, known, route.name)
        if isinstance(own, Rejection):
            return own
        if own is None:
            return rejection.nowhere(route.otherwise)
        found = custom.at_path(own, context.request.method, route.path)
        return rejection.nowhere(found) if isinstance(found, WrongMethod) else found

    def _own(self, context: RequestContext, known: KnownKey, name: str) -> Custom | Rejection | None:
        """The organisation's provider of this name. What a snapshot does not have may have been added since."""
        own = known.custom.get(name)
        if own is not None:
            return own
        current = self.admission.revalidate(known, context)
        return current if isinstance(current, Rejection) else current.custom.get(name)

    def _nobodys(self, context: RequestContext, known: KnownKey, asked: str | None) -> Rejection:
        # Nothing of it is admitted, and what is told depends on the key: so an edit has to be looked for.
        current = self.admission.revalidate(known, context)
        return current if isinstance(current, Rejection) else Rejection(nobodys_model(current.key, asked))

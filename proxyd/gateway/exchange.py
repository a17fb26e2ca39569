"""One request, from its head to the last byte of its answer. Read this file top to bottom and you know the product.

    route         where does the path lead?                          404         route.py
    authenticate  which key is it, and may it come in at all?        401 403     authenticate.py, admission.py
    read          the body, the model, the most it can cost          400 413     body_reader.py, providers/
    admit         policy; rate, spend and BEGIN, all or nothing      403 429 503 admission.py, accounting/
    send          to the provider, with the real credential          502 504     dispatch.py, attempt.py
    relay         bytes pass through, the meter learns the usage                 relay.py
    end           exactly once: journal, counters, then the ledger               attempt.py, accounting/

What is learned on the way is written into one `RequestContext`. A refusal is a value (`Rejection`), not an exception;
exceptions are for what the world does to us.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.refusal_log import RefusalLog, Refused
from proxyd.gateway import builtin_endpoints, custom, limit_headers, model_cards, payload, rejection, upload_links
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.authenticate import names_a_secret_of_ours
from proxyd.gateway.body_reader import BodyReader
from proxyd.gateway.context import RequestContext
from proxyd.gateway.decoded_body import DecodedBody, is_decodable
from proxyd.gateway.destinations import FORWARDED, Builtin, NeedsUpgrade, NoUpgrade, SessionRoute, Target
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.head import head_info
from proxyd.gateway.limits import Limits
from proxyd.gateway.model_router import ModelRouter, at_usual_address, refuse_model
from proxyd.gateway.rejection import OF_THE_REQUEST, Rejection, rejected, rejected_request
from proxyd.gateway.route import dialect_of, methods_of, spoken_by
from proxyd.gateway.upload_links import UploadLinks
from proxyd.known_key import KnownKey
from proxyd.messages import ClientGone, Request, RequestError, Response
from proxyd.providers import adapted, model_field
from shared.catalog import NOT_METERED
from shared.policy import ERRORS, Deny, KeySnapshot, Network, Reason
from shared.routing import Unified, Unknown, WrongMethod

NO_LIMITS = (Reason.INVALID_PROXY_KEY, Reason.KEYS_UNAVAILABLE, Reason.LIMITS_UNAVAILABLE)

_NO_METHOD = 405


class RequestFailed(Exception):
    """A fault of ours, and the request that it was made on."""

    def __init__(self, context: RequestContext) -> None:
        super().__init__(context.id)
        self.context = context


class Sessions(Protocol):
    """Opens WebSockets, whose turns are admitted one by one like requests; see `proxyd.websocket`."""

    def open(self, context: RequestContext, known: KnownKey, route: SessionRoute) -> Response | Rejection: ...


class Gateway:
    """Handles requests, one greenlet each. `handle` answers whatever comes.

    What makes it raise are clients that are gone, and faults of ours, as `RequestFailed`.
    """

    def __init__(
        self,
        accounting: Accounting,
        admission: AdmissionController,
        bodies: BodyReader,
        limits: Limits,
        dispatcher: Dispatcher,
        links: UploadLinks,
        sessions: Sessions,
        refusals: RefusalLog,
        trusted_proxies: tuple[Network, ...],
        ready: Callable[[], dict[str, str]],
        *,
        on_deny: Callable[[Deny], None] | None = None,
        traced: bool = False,
    ) -> None:
        """`on_deny` hears of each answer of our own, to anybody; `traced`: whose a request is, is to be told."""
        self._accounting = accounting
        self._admission = admission
        self._bodies = bodies
        self._models = ModelRouter(admission, bodies, at_usual_address(dispatcher.origins))
        self._limits = limits
        self._dispatcher = dispatcher
        self._links = links
        self._sessions = sessions
        self._refusals = refusals
        self._trusted = trusted_proxies
        self._ready = ready
        self._on_deny = on_deny
        self._traced = traced

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        seq, number = self._accounting.new_id()
        head = head_info(request, self._trusted, traced=self._traced)
        context = RequestContext(
            request, seq, f"req_{number}", head, head.client_ip, head.match.dialect, started=time.monotonic()
        )
        try:
            answer = self._exchange(context)
        except RequestError as error:
            answer = rejected_request(error)
        except BaseException as error:
            context.let_go()
            if isinstance(error, ClientGone) or not isinstance(error, Exception):
                raise
            # Whoever looks after the key finds it beside the refusals, under the id that the client is told.
            if context.key is not None and not request.client.gone:
                fault = rejected(Reason.INTERNAL_ERROR).deny
                self._note(context, context.key, fault, ERRORS[fault.reason].status)
            raise RequestFailed(context) from error
        if isinstance(answer, Rejection):
            context.let_go()
            refusal = self._refusal(self._with_limits(answer, context.key), context.dialect, context.id)
            if context.key is not None:
                self._note(context, context.key, answer.deny, refusal.status)
            return refusal
        return answer

    def _note(self, context: RequestContext, key: KeySnapshot, deny: Deny, status: int) -> None:
        """Count a refusal of a key that is known, for whoever looks after it."""
        model = context.model
        if model is None and context.parsed is not None:
            model = context.parsed.model  # it is not known yet where it leads
        refused = Refused(time.time(), status, deny, model, context.head.client_ip_text, context.id)
        self._refusals.note(key, refused)

    def error_response(self, error: Exception, request: Request | None) -> Response:
        """Answer a request that could not be read to its end, or on which we failed. Never raises."""
        if isinstance(error, RequestFailed):
            failed = error.context
            return self._refusal(rejected(Reason.INTERNAL_ERROR), failed.dialect, failed.id)
        asked = error.asked if request is None and isinstance(error, RequestError) else request
        spoken = "openai" if asked is None else spoken_by(asked.headers)
        dialect = "openai" if asked is None else dialect_of(asked.path, spoken)
        _, number = self._accounting.new_id()
        if not isinstance(error, RequestError):
            return self._refusal(rejected(Reason.INTERNAL_ERROR), dialect, f"req_{number}")
        refused = rejected_request(error)
        if error.status == _NO_METHOD:  # one that no path takes
            methods = methods_of("*" if asked is None else asked.path, spoken)
            refused = rejection.nowhere(WrongMethod(methods, f"{error}."))
        answer = self._refusal(refused, dialect, f"req_{number}")
        answer.close = True
        return answer

    def _refusal(self, refused: Rejection, dialect: str, request_id: str) -> Response:
        if self._on_deny is not None:
            self._on_deny(refused.deny)
        return rejection.response(refused, dialect, request_id)

    def _exchange(self, context: RequestContext) -> Response | Rejection:
        route, request = context.head.match.route, context.request
        if not isinstance(route, FORWARDED):  # what nearly all are
            if isinstance(route, Unknown | WrongMethod | NoUpgrade | NeedsUpgrade):
                self._find_owner(context)
                return rejection.nowhere(route)
            if isinstance(route, Builtin) and route.name in builtin_endpoints.PUBLIC:
                return builtin_endpoints.public(route.name, self._ready, context.id)
        if request.query and upload_links.PARAMETER in request.query and isinstance(route, Target):
            digest = self._links.opened(request, route)
        else:
            digest = context.head.authenticate(request)
        if isinstance(digest, Deny):
            return Rejection(digest)
        context.digest = digest
        known = self._admission.check_key(context)
        if isinstance(known, Rejection):
            return known
        if context.head.label_fault is not None:
            return self._unless_edited(context, known, rejection.bad_label(context.head.label_fault))
        if isinstance(route, FORWARDED):
            return self._forward(context, known, route)
        if isinstance(route, Builtin):
            return self._builtin(route, context, known)
        if isinstance(route, SessionRoute):
            opened = self._sessions.open(context, known, route)
            return self._unless_edited(context, known, opened) if isinstance(opened, Rejection) else opened
        found = self._models.named(context, known, route)
        if isinstance(found, Rejection):
            return self._unless_edited(context, known, found)
        return self._forward(context, known, found)

    def _find_owner(self, context: RequestContext) -> None:
        """Whose request leads nowhere, if it has a key: whoever looks after that one is to see the slip."""
        digest = context.head.authenticate(context.request)
        if not isinstance(digest, Deny):
            context.digest = digest
            self._admission.check_key(context)

    def _forward(self, context: RequestContext, known: KnownKey, route: Target | Unified) -> Response | Rejection:
        """From the key, which is known by now, to the answer of a provider."""
        try:
            refused = self._read(context, known, route)
        except RequestError as error:
            refused = rejected_request(error)
        if refused is None and known.custom and isinstance(route, Target) and route.custom is None:
            refused = self._models.refuse_elsewhere(context, known)
        if refused is not None:
            return self._unless_edited(context, known, refused)
        admission = self._admission.admit(known, context)
        if isinstance(admission, Rejection):
            return admission
        return self._dispatcher.send(context, admission)

    def _unless_edited(self, context: RequestContext, known: KnownKey, refused: Rejection) -> Rejection:
        """What is wrong with a request that was not admitted, unless its key was edited so that it may not come in."""
        if refused.deny.reason not in OF_THE_REQUEST:
            return refused
        current = self._admission.revalidate(known, context)
        if isinstance(current, Rejection):
            return current
        if current is known or context.model is None:
            return refused
        return refuse_model(self._admission, current, context, time.time()) or refused

    def _read(self, context: RequestContext, known: KnownKey, route: Target | Unified) -> Rejection | None:
        """Understand as much of the body as limits need, and no more."""
        request, endpoint = context.request, route.endpoint
        coding = context.head.coding
        if coding is not None and request.body.length != 0:
            if not is_decodable(coding):
                return rejection.unsupported_encoding(coding)
            request.body = DecodedBody(request.body, coding)
        if endpoint is None or endpoint.kind in NOT_METERED:
            assert isinstance(route, Target)  # noqa: S101 - a Unified route is always metered
            return self._read_unmetered(context, known, route)
        context.dialect = endpoint.dialect
        parsed = self._bodies.read(context, known, endpoint, route)
        if isinstance(parsed, Rejection):
            return parsed
        context.parsed = parsed
        if parsed.model is not None and names_a_secret_of_ours(parsed.model):
            return rejection.key_for_model()
        if request.query and parsed.model is not None and model_field.is_contradicted(request.query, parsed.model):
            return rejection.two_models()
        if isinstance(route, Unified):
            return self._models.route(context, route, known, parsed)
        context.lead_to(route, parsed.model)
        if route.custom is not None:
            context.parsed = adapted(parsed)
        return None

    def _read_unmetered(self, context: RequestContext, known: KnownKey, target: Target) -> Rejection | None:
        """What is free or cannot be metered goes on as it comes; its model matters to keys that may use some only."""
        query = context.request.query
        if target.provider.dialect == "gemini" and (name := payload.steering_parameter(query)) is not None:
            return rejected(Reason.INVALID_REQUEST, detail=f"the parameter {name} is not taken here.", param=name)
        found = self._bodies.read_unmetered(context, known, target)
        if isinstance(found, Rejection):
            return found
        context.payload = found
        in_query = model_field.in_query(query)
        named = None if in_query not in (None, found.model) else found.model
        model = target.path_model or named or (in_query if found.model is None else None)
        if model is not None and names_a_secret_of_ours(model):
            return rejection.key_for_model()
        context.lead_to(target, model)
        return None

    def _builtin(self, endpoint: Builtin, context: RequestContext, known: KnownKey) -> Response | Rejection:
        """What the router says of a key by itself. Nothing is admitted here, so that an edit has to be looked for."""
        current = self._admission.revalidate(known, context)
        if isinstance(current, Rejection):
            return current
        key, configured, dialect = current.key, frozenset(current.credentials), context.dialect
        own = custom.models_of(current) if current.custom else model_cards.NO_OWN
        if endpoint.otherwise is not None and not model_cards.knows(key, configured, endpoint.model, own):
            return self._forward(context, current, custom.card_at(current, endpoint.model) or endpoint.otherwise)
        limits = self._limits.of(key)
        lifetime_nanos = of_models = None
        if endpoint.name == "key":
            lifetime_nanos, of_models = self._limits.lifetime_nanos(key), self._limits.of_models(key)
        return builtin_endpoints.for_key(
            endpoint, key, configured, own, limits, lifetime_nanos, of_models, dialect, context.id
        )

    def _with_limits(self, refusal: Rejection, key: KeySnapshot | None) -> Rejection:
        """A refusal carries the limits' headers, as an answer would."""
        if key is None or refusal.deny.reason in NO_LIMITS:
            return refusal
        if key.rate_limit_rpm is None and key.spend_limit_nanos is None and key.rate_limit_tpm is None:
            return refusal
        limits = self._limits.of(key, exact=False)
        if limits is None:
            return refusal
        return replace(refusal, headers=(*refusal.headers, *limit_headers.limits(*limits, zone=key.zone)))

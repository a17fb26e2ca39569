"""One request, from its head to the last byte of its answer. Read this file top to bottom and you know the product.

    route         where does the path lead?                          404         route.py
    authenticate  which key is it, and may it come in at all?        401 403     authenticate.py, admit.py
    read          the body, the model, the most it can cost          400 413     providers/
    admit         policy; rate, spend and BEGIN, all or nothing      403 429 503 admit.py, books.py
    send          to the provider, with the real credential          502 504     dispatch.py, upstream.py
    relay         bytes pass through, the meter learns the usage                 relay.py
    settle        exactly once: journal, counters, then the ledger               relay.py, books.py

A refusal is a value (`Rejection`), not an exception; exceptions are for what the world does to us.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxyd.gateway import builtin_endpoints, headers, rejection
from proxyd.gateway.admission import AdmissionController, Wish
from proxyd.gateway.authenticate import Presented, authenticate, holds_a_secret_of_ours
from proxyd.gateway.context import MAX_JSON_BYTES, RequestContext, rejected, rejected_request
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.rejection import Rejection
from proxyd.gateway.route import Builtin, Target, Unified, Unknown, dialect_of, find_route, is_gemini, unified_target
from proxyd.key_cache import KeysUnavailable, KnownKey
from proxyd.messages import Request, RequestError, Response
from proxyd.providers import DIALECTS, BadBody, Parsed
from shared.addresses import client_address
from shared.catalog import PROVIDERS, Kind, provider_of_model
from shared.counters import CountersUnavailable
from shared.policy import Deny, KeySnapshot, Network, Reason

BODILESS = ("GET", "HEAD", "DELETE")
NO_LIMITS = (Reason.INVALID_PROXY_KEY, Reason.KEYS_UNAVAILABLE, Reason.LIMITS_UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class ResolvedRequest:
    """What a request turned out to want."""

    target: Target
    model: str | None
    parsed: Parsed | None = None  # None: the body is passed on as it comes
    new_model: str | None = None  # to be written into the body, in unified mode


class Gateway:
    """Handles requests, one greenlet each. `handle` answers whatever comes; only broken sockets make it raise."""

    def __init__(
        self,
        admission: AdmissionController,
        dispatcher: Dispatcher,
        trusted_proxies: tuple[Network, ...],
        ready: Callable[[], dict[str, str]],
    ) -> None:
        self._admission = admission
        self._dispatcher = dispatcher
        self._trusted = trusted_proxies
        self._ready = ready

    def handle(self, request: Request) -> Response:
        """Answer one request."""
        context = self._set_out(request)
        try:
            answer = self._exchange(context)
        except RequestError as error:
            answer = rejected_request(error)
        return rejection.response(answer, context.dialect, context.id) if isinstance(answer, Rejection) else answer

    def complain(self, error: Exception, request: Request | None) -> Response:
        """Answer a request that could not be read to its end, or on which we failed. Never raises."""
        dialect = "openai" if request is None else dialect_of(request.path)
        _, number = self._dispatcher.books.journal.new_id()
        if not isinstance(error, RequestError):
            return rejection.response(rejected(Reason.INTERNAL_ERROR), dialect, f"req_{number}")
        answer = rejection.response(rejected_request(error), dialect, f"req_{number}")
        answer.close = True
        return answer

    def _set_out(self, request: Request) -> RequestContext:
        seq, number = self._dispatcher.books.journal.new_id()
        forwarded = [value.decode("latin-1") for value in request.header_values(b"x-forwarded-for")]
        address = client_address(request.client.peer, forwarded, self._trusted)
        return RequestContext(request, seq, f"req_{number}", dialect_of(request.path), address, time.monotonic())

    def _exchange(self, context: RequestContext) -> Response | Rejection:
        request = context.request
        if holds_a_secret_of_ours(request.path.encode()):
            return rejected(Reason.UNKNOWN_ENDPOINT, detail="A key must not stand in the address.")
        route = find_route(request.method, request.path)
        if isinstance(route, Unknown):
            return rejected(Reason.UNKNOWN_ENDPOINT, detail=route.detail)
        if isinstance(route, Builtin) and route.name in builtin_endpoints.PUBLIC:
            return builtin_endpoints.public(route.name, self._ready, context.id)

        presented = authenticate(request, query_key_allowed=is_gemini(request.path))
        if isinstance(presented, Deny):
            return Rejection(presented)
        known = self._admission.check_key(presented.digest, context.client_ip)
        if isinstance(known, Rejection):
            return known
        if isinstance(route, Builtin):
            return self._builtin(route, context, presented, known)
        answer = self._use(context, presented, known, route)
        return self._with_limits(answer, known.key) if isinstance(answer, Rejection) else answer

    def _builtin(
        self, page: Builtin, context: RequestContext, presented: Presented, known: KnownKey
    ) -> Response | Rejection:
        """A page about the key. Nothing is admitted here, so that an edit has to be looked for."""
        admission, newest = self._admission, known
        try:
            if admission.counters.epoch(known.key.org_id) != known.epoch:
                admission.keys.reload(presented.digest)
                found = admission.check_key(presented.digest, context.client_ip)
                if isinstance(found, Rejection):
                    return found
                newest = found
        except KeysUnavailable:
            return rejected(Reason.KEYS_UNAVAILABLE)
        except CountersUnavailable:
            pass  # what is known is seconds old at most
        configured = frozenset(newest.credentials)
        return builtin_endpoints.for_key(page.name, newest.key, configured, admission.counters, context.id)

    def _use(
        self, context: RequestContext, presented: Presented, known: KnownKey, route: Target | Unified
    ) -> Response | Rejection:
        """Everything between the door and the answer of a provider."""
        reading = self._read(context, known.key, route)
        if isinstance(reading, Rejection):
            return reading
        context.dialect = reading.target.dialect
        endpoint = reading.target.endpoint
        wish = Wish(
            digest=presented.digest,
            seq=context.seq,
            attempt_id=context.id,
            client_ip=context.client_ip,
            target=reading.target,
            model=reading.model,
            parsed=reading.parsed,
            free=endpoint is not None and endpoint.kind is Kind.FREE,
        )
        admission = self._admission.admit(known, wish)
        if isinstance(admission, Rejection):
            return admission
        return self._dispatcher.send(context, wish, admission, reading.new_model)

    def _read(self, context: RequestContext, key: KeySnapshot, route: Target | Unified) -> ResolvedRequest | Rejection:
        """Understand as much of the body as limits need, and no more."""
        request, endpoint = context.request, route.endpoint
        path_model = route.path_model if isinstance(route, Target) else None
        unread = endpoint is None or endpoint.kind is Kind.UNMETERED or request.method in BODILESS
        if isinstance(route, Target) and unread:
            return ResolvedRequest(route, path_model)
        assert endpoint is not None  # noqa: S101 - a Unified route always has one
        context.dialect = endpoint.dialect
        try:
            body = request.body.read(MAX_JSON_BYTES)
            parsed = DIALECTS[endpoint.dialect].read(endpoint, body, path_model, request.query)
        except BadBody as error:
            return rejected(Reason.INVALID_REQUEST, detail=error.message, param=error.param)
        if parsed.model is not None and holds_a_secret_of_ours(parsed.model.encode()):
            detail = "a key stands where the model's name belongs."
            return rejected(Reason.INVALID_REQUEST, detail=detail, param="model")
        if isinstance(route, Target):
            return ResolvedRequest(route, parsed.model, parsed)
        return _unify(route, key, parsed)

    def _with_limits(self, refusal: Rejection, key: KeySnapshot) -> Rejection:
        """A refusal carries the limits' headers, as an answer would."""
        if refusal.deny.reason in NO_LIMITS:
            return refusal
        rate, spend = builtin_endpoints.state_of(key, self._admission.counters)
        return replace(refusal, headers=(*refusal.headers, *headers.limits(rate, spend)))


def _unify(route: Unified, key: KeySnapshot, parsed: Parsed) -> ResolvedRequest | Rejection:
    """Which provider serves this model, and under which name. No glob can cover a model that nobody serves."""
    found = None if parsed.model is None else provider_of_model(parsed.model)
    if found is None and key.allowed_models:
        model = "a request without a model" if parsed.model is None else f"the model {parsed.model}"
        allowed = ", ".join(key.allowed_models)
        return rejected(Reason.MODEL_NOT_ALLOWED, prefix=key.prefix, model=model, allowed_models=allowed)
    if parsed.model is None:
        return rejected(Reason.INVALID_REQUEST, detail="model is missing.", param="model")
    if found is None:
        detail = (
            f"no provider is known for the model {parsed.model}; write the provider before it, such as "
            f"openai/{parsed.model}."
        )
        return rejected(Reason.INVALID_REQUEST, detail=detail, param="model")
    slug, model = found
    target = unified_target(route, PROVIDERS[slug])
    if isinstance(target, Unknown):
        return rejected(Reason.UNKNOWN_ENDPOINT, detail=target.detail)
    if model == parsed.model:
        return ResolvedRequest(target, model, parsed)
    return ResolvedRequest(target, model, replace(parsed, model=model), model)

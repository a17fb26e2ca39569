"""Opening a WebSocket: the client's handshake is judged, ours with the provider is made, and a `Session` comes of both.

Until then it is a request like any other: whatever refuses it, here or at the provider, is an HTTP answer.
"""

from functools import partial
from urllib.parse import parse_qsl

from proxyd.bodies.memory import BodyMemory
from proxyd.bodies.parser import BodyParser
from proxyd.gateway import headers, limit_headers
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.authenticate import names_a_secret_of_ours, without_keys
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.destinations import SessionRoute
from proxyd.gateway.dispatch import Dispatcher
from proxyd.gateway.limits import Limits
from proxyd.gateway.payload import steering_parameter
from proxyd.gateway.rejection import (
    Rejection,
    key_for_model,
    rejected,
    rejected_request,
    upgrade_required,
    upstream_failed,
)
from proxyd.gateway.session_admission import SessionAdmission
from proxyd.known_key import KnownKey
from proxyd.messages import BadRequest, ClientGone, Incoming, Response, UpstreamAborted, UpstreamError
from proxyd.providers.gemini_live import UNPRICED
from proxyd.providers.realtime import ROOM_TOKENS, SessionInput
from proxyd.providers.realtime_config import SessionConfig
from proxyd.websocket.conversation import Conversation
from proxyd.websocket.live import LiveConversation
from proxyd.websocket.realtime import RealtimeConversation
from proxyd.websocket.responses import ResponsesConversation
from proxyd.websocket.session import Session
from proxyd.websocket.turns import Turns
from proxyd.websocket.watch import SessionWatch
from proxyd.wire.websocket import (
    Handshake,
    HandshakeFailed,
    WrongVersion,
    accepting,
    chosen_protocol,
    offer,
    read_handshake,
)
from shared import hints, pricing
from shared.catalog import Kind
from shared.policy import Reason

MAX_MODEL_CHARACTERS = 200


class SessionOpener:
    """Implements `gateway.exchange.Sessions`, for one worker."""

    def __init__(
        self,
        sessions: SessionAdmission,
        dispatcher: Dispatcher,
        limits: Limits,
        parser: BodyParser,
        memory: BodyMemory,
    ) -> None:
        self._sessions = sessions
        self._dispatcher = dispatcher
        self._limits = limits
        self._parser = parser
        self._memory = memory
        self._watch = SessionWatch()

    def open(self, context: RequestContext, known: KnownKey, route: SessionRoute) -> Response | Rejection:
        """The provider's answer to a handshake; a 101 takes the connection over."""
        context.target, context.dialect, context.free = route.target, route.target.dialect, True
        try:
            handshake = read_handshake(context.request.headers)
            if context.request.body.length != 0:
                raise BadRequest("A WebSocket handshake has no body")  # noqa: TRY301 - said where the others are
        except WrongVersion as error:
            return upgrade_required(f"{error}.")
        except BadRequest as error:
            return rejected_request(error)
        query = context.request.query
        if route.endpoint.kind is Kind.LIVE and (name := steering_parameter(query)) is not None:
            return rejected(Reason.INVALID_REQUEST, detail=f"the parameter {name} is not taken here.", param=name)
        if route.endpoint.kind is Kind.REALTIME:
            model = realtime_model(query)
            if isinstance(model, Rejection):
                return model
            context.model = model
        bound = partial(self._bound, context, route.endpoint.kind)
        unbounded = UNPRICED if route.endpoint.kind is Kind.LIVE else None
        admission = self._sessions.begin(known, context, bound, unbounded)
        if isinstance(admission, Rejection):
            return admission
        return self._connected(context, admission, route, handshake)

    def _bound(self, context: RequestContext, kind: Kind, known: KnownKey) -> tuple[int | None, str | None]:
        """What the first turn may cost, as far as the handshake tells; and why that is unknown."""
        if kind is Kind.LIVE:
            return None, UNPRICED
        if kind is not Kind.REALTIME or context.model is None:
            return 0, None
        size = SessionInput().size(SessionConfig(), None, 1, ROOM_TOKENS)
        found = pricing.explain(
            "openai", context.model, size, at=self._sessions.now(), remaining_nanos=0, book=known.prices
        )
        return (None, found.what) if isinstance(found, pricing.Unbounded) else (found.nanos, None)

    def _connected(
        self, context: RequestContext, admission: Admission, route: SessionRoute, handshake: Handshake
    ) -> Response | Rejection:
        provider = route.target.provider
        made = offer(without_keys(handshake.protocols))
        outgoing = self._dispatcher.outgoing(context, admission)
        outgoing.lines, outgoing.upgrade = outgoing.lines + made.lines, True
        call = self._dispatcher.pool.call(outgoing)
        accounting, deferred = self._sessions.accounting, self._dispatcher.later.deferred
        attempt = UpstreamAttempt(accounting, context, admission, call=call, detached=None, on_deferred=deferred)
        try:
            incoming = self._dispatcher.sent(attempt, outgoing)
            if incoming.status != 101:
                return self._dispatcher.relayed(attempt, incoming)
            protocol = chosen_protocol(made, incoming.headers)
            return self._switched(attempt, incoming, route, [*accepting(handshake, protocol)])
        except HandshakeFailed as error:
            attempt.end("provider_error", error)
            return upstream_failed(provider, error)
        except (UpstreamAborted, ClientGone):
            raise ClientGone from None  # as in `Dispatcher.send`
        except UpstreamError as error:
            return upstream_failed(provider, error)
        except Exception as error:
            attempt.fail(error)
            raise
        finally:
            if attempt.ended:
                attempt.release()

    def _switched(
        self, attempt: UpstreamAttempt, incoming: Incoming, route: SessionRoute, own: list[tuple[bytes, bytes]]
    ) -> Response:
        """Our 101, and the session that begins with it."""
        context, admission = attempt.context, attempt.admission
        told = headers.read_response_headers(incoming.headers, admission.secrets)
        attempt.provider_request_id = told.request_id
        if self._dispatcher.failover.health.resting:
            self._dispatcher.failover.health.works(admission.credential, context.model)
        limits = self._limits.of(admission.known.key, exact=False)
        own += [] if limits is None else limit_headers.limits(*limits, zone=admission.known.key.zone)
        turns = Turns(self._sessions.accounting, self._sessions.admission, self._sessions, context, admission)
        conversation = self._conversation(turns, route)
        context.request.client.on_gone(None)
        connection, first = attempt.call.take_over()
        session = Session(connection, first, attempt, turns, conversation, self._memory, self._watch)
        return Response(101, headers.returned(told, own, context.id.encode()), b"", takeover=session)

    def _conversation(self, turns: Turns, route: SessionRoute) -> Conversation:
        kind, endpoint = route.endpoint.kind, route.endpoint
        if kind is Kind.REALTIME:
            return RealtimeConversation(turns, endpoint, self._parser, turns.session.model or "unknown")
        if kind is Kind.LIVE:
            return LiveConversation(turns, endpoint, self._parser)
        return ResponsesConversation(turns, endpoint, self._parser)


def realtime_model(query: str) -> str | Rejection:
    """The model that a Realtime session's address names."""
    named = parse_qsl(query, keep_blank_values=True)
    models = {value for name, value in named if name == "model"}
    if len(models) != 1 or any(name in ("intent", "call_id") for name, _ in named):
        return rejected(Reason.UPGRADE_NOT_SUPPORTED, detail=hints.NO_MODEL)
    model = models.pop()
    if names_a_secret_of_ours(model):
        return key_for_model()
    # What some readers take for the end of a value would be another model to them than it is to us.
    odd = not model.isprintable() or model != model.strip() or set(model) & set(";&#")
    if not model or len(model) > MAX_MODEL_CHARACTERS or odd:
        return rejected(Reason.INVALID_REQUEST, detail="model cannot be read.", param="model")
    return model

"""From BEGIN to the answer: sending an admitted request to its provider and handing what comes back to a relay.

BEGIN is written and money is held, so every way out of this file closes the books: void when nothing reached the
provider, else a settlement.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from proxyd.accounting.accounting import Accounting
from proxyd.gateway import headers, relay
from proxyd.gateway.admission import Admission, Wish
from proxyd.gateway.authenticate import query_keys, without_key
from proxyd.gateway.context import RequestContext, rejected, rejected_request
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.masking import masked_error, masked_headers
from proxyd.gateway.rejection import Rejection
from proxyd.gateway.relay import UpstreamAttempt
from proxyd.messages import (
    ClientGone,
    Header,
    Incoming,
    Origin,
    Outgoing,
    RequestError,
    Response,
    UpstreamAborted,
    UpstreamError,
    UpstreamTimeout,
)
from proxyd.providers import DIALECTS, Meter
from proxyd.upstream.pool import Call, UpstreamPool
from shared.catalog import credential_header
from shared.policy import ERRORS, Reason

MAX_UPLOAD_BYTES = 512 * 1024 * 1024
SMALL_BYTES = 1024 * 1024  # answers up to this are read whole before they are passed on
BILLS_ON = frozenset(("gemini",))  # providers that charge for a stream whose reader has hung up


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends admitted requests, for one worker."""

    books: Accounting
    pool: UpstreamPool
    origins: Mapping[str, tuple[Origin, str]]  # provider slug -> where it listens, base path
    drains: DetachedStreams

    def send(
        self, context: RequestContext, wish: Wish, admission: Admission, new_model: str | None
    ) -> Response | Rejection:
        """Send an attempt that was begun, and answer with what it brings. `new_model` replaces the name in the body."""
        attempt = UpstreamAttempt(
            books=self.books,
            seq=context.seq,
            provider=wish.target.provider.slug,
            model=wish.model,
            free=wish.free,
            metered=wish.parsed is not None,
            bound_nanos=admission.bound_nanos,
            admitted_at=admission.admitted_at,
            started=context.started,
            client=context.request.client,
        )
        # Whose provider bills on is not called off when its client leaves, as long as there is room.
        drains = self.drains if attempt.provider in BILLS_ON and attempt.metered else None
        call: Call | None = None
        try:
            call = self.pool.call(self._outgoing(context, wish, admission, new_model))
            context.request.client.on_gone(call.abort if drains is None else partial(drains.outlive, call))
            try:
                incoming = call.start()
            except (UpstreamError, RequestError, ClientGone) as error:
                return self._no_answer(wish, attempt, call, error)
            attempt.status = incoming.status
            attempt.provider_request_id = headers.request_id_of(incoming.headers)
            return self._relay(context, wish, admission, attempt, call, incoming, drains)
        except Exception:
            # Our own fault: no money stays held for it. (Whoever is killed leaves it to the next to recover.)
            if call is not None and call.sent:
                attempt.close("unknown", None)
            else:
                attempt.void()
            raise
        finally:
            if attempt.closed and call is not None:
                context.request.client.on_gone(None)
                call.close()
                if drains is not None:
                    drains.over(call)

    def _no_answer(
        self, wish: Wish, attempt: UpstreamAttempt, call: Call, error: UpstreamError | RequestError | ClientGone
    ) -> Rejection:
        """What the provider never saw is void; what it may have seen is a row of unknown outcome, never sent again."""
        if not call.sent:
            attempt.void()
        elif isinstance(error, UpstreamAborted | ClientGone):
            attempt.close("client_gone", self._meter(wish, None, streaming=False))
        else:
            attempt.close("unknown", None)
        if isinstance(error, RequestError):
            return rejected_request(error)
        return _failed(wish, error)

    def _outgoing(self, context: RequestContext, wish: Wish, admission: Admission, new_model: str | None) -> Outgoing:
        target, request = wish.target, context.request
        provider = target.provider
        origin, base = self.origins[provider.slug]
        query = without_key(request.query) if query_keys(request.query) else request.query
        path = f"{base}{target.path}?{query}" if query else f"{base}{target.path}"
        name, prefix = credential_header(provider, target.path)
        credential: Header = (name, prefix + admission.credential.encode())
        sent = headers.outgoing(request.headers, credential=credential, extra=provider.extra_headers)
        if wish.parsed is not None:
            data = DIALECTS[target.dialect].rewrite(wish.parsed, model=new_model, output_limit=admission.output_limit)
            return Outgoing(origin, request.method, path, sent, data)
        length = request.body.length
        body = b"" if length == 0 else request.body.chunks(MAX_UPLOAD_BYTES)
        return Outgoing(origin, request.method, path, sent, body, length)

    def _relay(
        self,
        context: RequestContext,
        wish: Wish,
        admission: Admission,
        attempt: UpstreamAttempt,
        call: Call,
        incoming: Incoming,
        drains: DetachedStreams | None,
    ) -> Response | Rejection:
        """Choose how the answer is passed on: as an event stream, whole, or piece by piece."""
        failed = incoming.status >= 400
        streaming = relay.is_event_stream(incoming) and not failed
        meter = self._meter(wish, incoming, streaming=streaming)
        credential = admission.credential.encode()
        own = headers.limits(admission.charged.rate, admission.charged.spend)
        if admission.output_limit is not None:
            own.append((b"x-router-max-tokens", b"%d" % admission.output_limit))
        if streaming and meter is not None:
            own.append((b"x-accel-buffering", b"no"))  # for nginx and its like in front of us
        returned = masked_headers(headers.returned(incoming.headers, own, context.id.encode()), credential)
        small = incoming.length is not None and incoming.length <= SMALL_BYTES
        bodiless = context.request.method == "HEAD" or incoming.status in (204, 304)
        if not (small or bodiless or failed) or (streaming and meter is not None):
            if drains is not None:
                attempt.client.on_gone(None)  # the relay finds out when it writes, and then hands over
            if streaming and meter is not None:
                body = relay.stream(call, attempt, meter, lambda error: _error_event(context, wish, error), drains)
                return Response(incoming.status, returned, body)
            return Response(incoming.status, returned, relay.pieces(call, attempt, meter, drains), incoming.length)
        try:
            data = relay.whole(call, attempt, meter)
        except UpstreamError as error:
            return _failed(wish, error)
        if failed:
            returned, data = masked_error(returned, data, credential)
        return Response(incoming.status, returned, data, incoming.length if bodiless else None)

    @staticmethod
    def _meter(wish: Wish, incoming: Incoming | None, *, streaming: bool) -> Meter | None:
        """A meter for an answer; without one, for what can be told from the request alone."""
        if wish.parsed is None or wish.target.endpoint is None:
            return None
        return DIALECTS[wish.target.dialect].meter(
            wish.target.endpoint,
            wish.parsed,
            streaming=streaming,
            content_encoding=None if incoming is None else relay.content_encoding(incoming.headers),
        )


def _failed(wish: Wish, error: UpstreamError | ClientGone) -> Rejection:
    """502, or 504 when it took too long."""
    reason = Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE
    return rejected(reason, provider=wish.target.provider.label, detail=str(error))


def _error_event(context: RequestContext, wish: Wish, error: UpstreamError) -> bytes:
    """What a client is told inside a stream that breaks off."""
    reason = Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE
    text = "The provider's answer broke off before it was complete."
    kind = None if wish.target.endpoint is None else wish.target.endpoint.kind
    return DIALECTS[context.dialect].error_event(ERRORS[reason].status, reason.value, text, context.id, kind)

"""From BEGIN to the answer: sending an admitted request to its provider and handing what comes back to a relay.

BEGIN is written and money is held, so every way out of this file closes the books: void when nothing reached the
provider, else a settlement.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from proxyd.gateway import headers, relay
from proxyd.gateway.admit import Admission, Wish
from proxyd.gateway.authenticate import query_keys, without_key
from proxyd.gateway.books import Books
from proxyd.gateway.refuse import Refused
from proxyd.gateway.relay import Drains, Passage
from proxyd.gateway.trip import Trip, refused, refused_request
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
from proxyd.upstream import Call, UpstreamPool
from shared.catalog import credential_header
from shared.policy import TABLE, Reason

MAX_UPLOAD_BYTES = 512 * 1024 * 1024
MAX_WHOLE_BYTES = 1024 * 1024  # answers up to this are read whole before they are passed on
BILLS_ON = frozenset(("gemini",))  # providers that charge for a stream whose reader has hung up


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends admitted requests, for one worker."""

    books: Books
    pool: UpstreamPool
    origins: Mapping[str, tuple[Origin, str]]  # provider slug -> where it listens, base path
    drains: Drains

    def send(self, trip: Trip, wish: Wish, admission: Admission, new_model: str | None) -> Response | Refused:
        """Send an attempt that was begun, and answer with what it brings. `new_model` replaces the name in the body."""
        passage = Passage(
            books=self.books,
            seq=trip.seq,
            provider=wish.target.provider.slug,
            model=wish.model,
            free=wish.free,
            metered=wish.parsed is not None,
            bound_nanos=admission.bound_nanos,
            admitted_at=admission.admitted_at,
            started=trip.started,
            client=trip.request.client,
        )
        call = self.pool.call(self._outgoing(trip, wish, admission, new_model))
        trip.request.client.on_gone(call.abort)
        try:
            incoming = call.start()
        except (UpstreamError, RequestError, ClientGone) as error:
            trip.request.client.on_gone(None)
            call.close()
            return self._no_answer(trip, wish, passage, call, error)
        passage.status = incoming.status
        passage.provider_request_id = headers.request_id_of(incoming.headers)
        return self._relay(trip, wish, admission, passage, call, incoming)

    def _no_answer(
        self, trip: Trip, wish: Wish, passage: Passage, call: Call, error: UpstreamError | RequestError | ClientGone
    ) -> Refused:
        """What the provider never saw is void; what it may have seen is a row of unknown outcome, never sent again."""
        if call.sent:
            passage.close("client_gone" if isinstance(error, UpstreamAborted | ClientGone) else "unknown", None)
        else:
            self.books.void(trip.seq)
        if isinstance(error, RequestError):
            return refused_request(error)
        reason = Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE
        return refused(reason, provider=wish.target.provider.label, detail=str(error))

    def _outgoing(self, trip: Trip, wish: Wish, admission: Admission, new_model: str | None) -> Outgoing:
        target, request = wish.target, trip.request
        provider = target.provider
        origin, base = self.origins[provider.slug]
        query = without_key(request.query) if query_keys(request.query) else request.query
        path = f"{base}{target.path}?{query}" if query else f"{base}{target.path}"
        name, prefix = credential_header(provider, target.path)
        credential: Header = (name, prefix + admission.credential.encode())
        sent = headers.outgoing(
            request.headers, credential=credential, extra=provider.extra_headers, metered=wish.parsed is not None
        )
        if wish.parsed is not None:
            data = DIALECTS[target.dialect].rewrite(wish.parsed, model=new_model, output_limit=admission.output_limit)
            return Outgoing(origin, request.method, path, sent, data)
        length = request.body.length
        body = b"" if length == 0 else request.body.chunks(MAX_UPLOAD_BYTES)
        return Outgoing(origin, request.method, path, sent, body, length)

    def _relay(
        self, trip: Trip, wish: Wish, admission: Admission, passage: Passage, call: Call, incoming: Incoming
    ) -> Response | Refused:
        """Choose how the answer is passed on: as an event stream, whole, or piece by piece."""
        streaming = relay.is_event_stream(incoming)
        meter = self._meter(wish, incoming, streaming=streaming)
        own = headers.limits(admission.charged.rate, admission.charged.spend)
        if admission.output_limit is not None:
            own.append((b"x-router-max-tokens", b"%d" % admission.output_limit))
        if streaming and meter is not None:
            own.append((b"x-accel-buffering", b"no"))  # for nginx and its like in front of us
            drains = self.drains if passage.provider in BILLS_ON else None
            if drains is not None:
                passage.client.on_gone(None)
            body = relay.stream(call, passage, meter, lambda error: _error_event(trip, wish, error), drains)
            return Response(incoming.status, headers.returned(incoming.headers, own, trip.id.encode()), body)
        returned = headers.returned(incoming.headers, own, trip.id.encode())
        small = incoming.length is not None and incoming.length <= MAX_WHOLE_BYTES
        bodiless = trip.request.method == "HEAD" or incoming.status in (204, 304)
        if not (small or bodiless or incoming.status >= 400):
            body = relay.pieces(call, passage, meter)
            return Response(incoming.status, returned, body, incoming.length)
        try:
            data = relay.whole(call, passage, meter, admission.credential.encode())
        except UpstreamError as error:
            provider = wish.target.provider.label
            return refused(Reason.PROVIDER_UNREACHABLE, provider=provider, detail=str(error))
        finally:
            passage.client.on_gone(None)
        return Response(incoming.status, returned, data, incoming.length if bodiless else None)

    @staticmethod
    def _meter(wish: Wish, incoming: Incoming, *, streaming: bool) -> Meter | None:
        if wish.parsed is None or wish.target.endpoint is None:
            return None
        return DIALECTS[wish.target.dialect].meter(
            wish.target.endpoint,
            wish.parsed,
            streaming=streaming,
            content_encoding=relay.content_encoding(incoming.headers),
        )


def _error_event(trip: Trip, wish: Wish, error: UpstreamError) -> bytes:
    """What a client is told inside a stream that breaks off."""
    reason = Reason.PROVIDER_TIMEOUT if isinstance(error, UpstreamTimeout) else Reason.PROVIDER_UNREACHABLE
    text = "The provider's answer broke off before it was complete."
    kind = None if wish.target.endpoint is None else wish.target.endpoint.kind
    return DIALECTS[trip.dialect].error_event(TABLE[reason].status, reason.value, text, trip.id, kind)

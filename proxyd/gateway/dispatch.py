"""From an admitted request to its answer: what is sent to the provider, and how what comes back is passed on."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.records import LedgerUnavailable
from proxyd.gateway import custom, headers, limit_headers, relay, translated
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.authenticate import without_key
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.failover import Failover
from proxyd.gateway.later import LaterBilling
from proxyd.gateway.masking import without_coding
from proxyd.gateway.payload import NO_PAYLOAD, Payload
from proxyd.gateway.rejection import Rejection, rejected, rejected_request, upstream_failed
from proxyd.gateway.upload_links import UploadLinks
from proxyd.gateway.verdict import REFUSED
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
)
from proxyd.providers import DIALECTS, for_metering
from proxyd.upstream.pool import UpstreamPool
from shared.policy import Reason, is_capped_for

SMALL_BYTES = 1024 * 1024  # answers up to this are read whole before they are passed on
UPLOAD_BEGINS_BYTES = 64 * 1024  # of an upload that is streamed: so much is read before the provider is called
UPLOADS = "/upload/"
BILLS_AFTER_DISCONNECT = frozenset(("gemini",))  # providers that charge for a stream whose reader has hung up


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends admitted requests, for one worker."""

    accounting: Accounting
    pool: UpstreamPool
    origins: Mapping[str, tuple[Origin, str]]  # provider slug -> where it listens, base path
    detached: DetachedStreams
    links: UploadLinks
    later: LaterBilling
    failover: Failover

    def send(self, context: RequestContext, admission: Admission) -> Response | Rejection:
        """Make the attempt that was begun, and answer with what it brings. Raises ClientGone."""
        # What is billed anyway is not called off when its client leaves, as long as there is room.
        billed_anyway = context.parsed is not None and (
            context.target.provider.slug in BILLS_AFTER_DISCONNECT or context.parsed.document.get("background") is True
        )
        try:
            if admission.several is not None and context.parsed is None:
                self.later.follow(context, admission, admission.several)
            outgoing = self.outgoing(context, admission)
            call = self.pool.call(outgoing)
        except Exception:
            # A fault of our own, or an upload that never came; nothing was sent.
            self.accounting.void(context.seq)
            raise
        detached = self.detached if billed_anyway else None
        attempt = UpstreamAttempt(
            self.accounting, context, admission, call=call, detached=detached, on_deferred=self.later.deferred
        )
        try:
            answer = self.relayed(attempt, self.sent(attempt, outgoing))
        except RequestError as error:
            return rejected_request(error)
        except LedgerUnavailable:
            return rejected(Reason.LIMITS_UNAVAILABLE)  # what cannot be booked is not handed over
        except (UpstreamAborted, ClientGone):
            raise ClientGone from None  # nobody is there to be told anything, and no provider has failed
        except UpstreamError as error:
            return upstream_failed(context.target.provider, error)
        except Exception as error:
            attempt.fail(error)
            raise
        else:
            if context.target.path.startswith(UPLOADS):  # the answers to others hold no links
                base = self.base_of(context)
                answer.headers = self.links.rewritten(answer.headers, context.request, context.digest, base)
            return answer
        finally:
            if attempt.ended:  # else a relay is under way, and releases it when it ends
                attempt.release()

    def base_of(self, context: RequestContext) -> str:
        """The base path of the provider that a request goes to."""
        if context.target.custom is not None:
            return context.target.custom.base
        return self.origins[context.target.provider.slug][1]

    def sent(self, attempt: UpstreamAttempt, outgoing: Outgoing) -> Incoming:
        """The head of the provider's answer, to the first of the credentials that are worth a try."""
        return attempt.send() if attempt.admission.several is None else self.failover.send(attempt, outgoing)

    def relayed(self, attempt: UpstreamAttempt, incoming: Incoming) -> Response:
        """What the client gets of an answer that has begun."""
        parsed = attempt.context.parsed
        try:
            if parsed is not None and parsed.size.service_tier is not None:
                attempt.note_tier(parsed, incoming.headers)
            answer = _relayed(attempt, incoming, self.later, self.base_of)
        except Exception:
            if incoming.status == REFUSED:
                self.failover.heed(attempt, REFUSED, None)
            raise
        if incoming.status == REFUSED or self.failover.health.resting:
            self.failover.heed(attempt, incoming.status, answer.body)
        return answer

    def outgoing(self, context: RequestContext, admission: Admission) -> Outgoing:
        """What goes to the provider."""
        target, request, parsed = context.target, context.request, context.parsed
        provider = target.provider
        if target.translation is None:
            query, lines = request.query, context.head.lines_for(provider, request)
        else:  # what the client sent speaks of another provider's API
            query, lines = "", translated.request_lines(request.headers, provider.extra_headers)
        dialect = DIALECTS[target.dialect]
        if target.custom is None:
            origin, base = self.origins[provider.slug]
            path = base + target.path
        else:
            origin, path = custom.place_of(target.custom, target, context.model)
            query = custom.query_of(target.custom, query)
            limited = is_capped_for(admission.known.key, provider.slug, context.model)
            dialect = custom.dialect_of(target.custom, limited=limited)
        if query and (query := without_key(query)):
            path = f"{path}?{query}"
        name, prefix = target.credential_header
        credential: list[Header] = [(name, prefix + admission.credential.secret.encode())] if name else []
        if parsed is not None:
            data = dialect.rewrite(parsed, model=context.new_model, output_limit=admission.output_limit)
            if context.claim is None:
                return Outgoing(origin, request.method, path, credential, data, lines=lines)
            # What is sent is all that has to be held from now on.
            parsed.raw, parsed.document = b"", for_metering(parsed.document)
            return Outgoing(origin, request.method, path, credential, data, lines=lines, on_sent=context.claim.release)
        body, length = _begun(context.payload)
        context.payload = NO_PAYLOAD
        on_sent = None if context.claim is None else context.claim.release
        return Outgoing(origin, request.method, path, credential, body, length, lines, on_sent)


def _begun(upload: Payload) -> tuple[bytes | Iterator[bytes], int | None]:
    """A body that is not metered and its length, once it is whole or has well begun.

    Who announces a body and sends none, or a byte a second, shall not keep a connection of the provider's waiting.
    Raises RequestError and ClientGone.
    """
    pieces = upload.body
    if isinstance(pieces, bytes):
        return pieces, None
    first: list[bytes] = []
    size = 0
    for piece in pieces:
        first.append(piece)
        size += len(piece)
        if size >= UPLOAD_BEGINS_BYTES:
            return chain(first, pieces), upload.length
    return b"".join(first), None


def _relayed(
    attempt: UpstreamAttempt, incoming: Incoming, later: LaterBilling, base_of: Callable[[RequestContext], str]
) -> Response:
    """Choose how the answer is passed on: as an event stream, whole, or piece by piece."""
    context, admission = attempt.context, attempt.admission
    status, length = incoming.status, incoming.length
    told = status >= 300  # an error or a redirect: little, and for people
    translation = context.target.translation
    answer = headers.read_response_headers(incoming.headers, admission.secrets)
    if attempt.instead is None:
        attempt.provider_request_id = answer.request_id
    streaming = answer.events and not told
    if not (answer.events or told) and context.parsed is not None and context.parsed.stream:
        streaming = relay.brings_events(attempt, answer.coding)
    attempt.start_metering(None if told else answer.coding, streaming=streaming)
    events = streaming and attempt.meter is not None
    charged, zone = admission.charged, admission.known.key.zone
    own = limit_headers.limits(charged.rate, charged.spend, charged.tokens, zone=zone)
    if admission.output_limit is not None:
        own.append((b"x-router-max-tokens", b"%d" % admission.output_limit))
    if admission.tried:
        own.append((b"x-router-attempts", b"%d" % (len(admission.tried) + 1)))
    if streaming:
        own.append((b"x-accel-buffering", b"no"))  # for nginx and its like in front of us
    returned = headers.returned(answer, own, context.id.encode())
    bodiless = status in (204, 304) or context.request.method == "HEAD"
    if told and not bodiless:
        codings = [value for name, value in incoming.headers if name == b"content-encoding"]
        shown = relay.error(attempt, codings, admission.secrets)
        if translation is not None:
            return translated.error(attempt, translation, shown, returned)
        return Response(status, without_coding(returned), shown)
    if translation is not None:
        return translated.relayed(attempt, translation, answer.coding, returned, events=events)
    if attempt.meter is None and not bodiless:  # what is metered tells of nothing else
        billed = later.relayed(attempt, answer, status, returned, base_of(context))
        if billed is not None:
            return billed
    small = bodiless or (attempt.call.has_arrived() if length is None else length <= SMALL_BYTES)
    if events or not small:
        if attempt.detached is not None:
            context.request.client.on_gone(None)  # the relay finds out when it writes, and then hands over
        begun = attempt.call.has_begun()
        if events:
            body, length = relay.stream(attempt), None
        else:
            body = relay.pieces(attempt, length)
        return Response(status, returned, body, length, prompt=not begun)
    data = relay.buffered(attempt)
    return Response(status, returned, data, length if bodiless else None)

"""One attempt at a provider over HTTP: sent, metered on the way, ended exactly once.

What the provider may have billed is never sent again; what it certainly has not, `failover` may.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec.structs import replace

from proxyd.accounting.records import Try
from proxyd.credentials import Credential
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.metered_attempt import MeteredAttempt
from proxyd.messages import ClientGone, Header, Incoming, RequestError, UpstreamAborted, UpstreamError
from proxyd.providers import DIALECTS, Meter, Parsed
from proxyd.upstream.pool import Call

_SERVED_TIER = b"x-gemini-service-tier"  # https://ai.google.dev/gemini-api/docs/priority-inference
_TIERS = (b"standard", b"flex", b"priority")


class UpstreamAttempt(MeteredAttempt, kw_only=True):
    """Owns the call to the provider, the meter of its answer, and its end.

    Its way is a line: `send`, `start_metering`, a relay (`relay.py`) that calls `end`, and `release`.
    """

    call: Call
    detached: DetachedStreams | None  # where the answer is read to its end if the client leaves; None: it is ended then
    on_deferred: "Callable[[UpstreamAttempt, str], None]"  # hears the name of an answer that is made later
    meter: Meter | None = None
    unreadable: bool = False  # its answer could not be told to the client, for whom it has broken off
    instead: bytes | None = None  # the plain body of the answer that is passed on in the place of its own

    def send(self) -> Incoming:
        """Send it and give the head of the answer.

        Raises `UpstreamError`, and `RequestError` and `ClientGone` when the client's own body fails under way; the
        attempt has ended then.
        """
        try:
            return self.start()
        except Exception as error:
            self.broke_off(error)
            raise

    def start(self) -> Incoming:
        """The same, but that the attempt has not ended when it raises."""
        call = self.call
        on_gone = self.context.request.client.on_gone
        on_gone(call.abort if self.detached is None else partial(self.detached.detach, call))
        incoming = call.start()
        self.first_byte_ms = self.elapsed_ms()
        self.status = incoming.status
        return incoming

    def broke_off(self, error: Exception) -> None:
        """End it, because there will be no answer. A fault of our own is left to `fail`."""
        if not isinstance(error, UpstreamError | RequestError | ClientGone):
            return
        if not self.call.sent:
            self.void()
        elif isinstance(error, UpstreamAborted | ClientGone):
            self.start_metering(None, streaming=False)
            self.end("client_gone", error)
        else:
            self.end("unknown", error)

    def tried(self, why: str) -> None:
        """Its credential was no use, for this reason, and nothing was billed."""
        admission = self.admission
        one = admission.credential
        admission.tried = (*admission.tried, (one, Try(one.label, one.last4, why)))

    def go_on(self, call: Call, credential: Credential) -> None:
        """Send it by this call, with this credential. The call before is over."""
        self.release()
        self.call, self.status, self.first_byte_ms, self.provider_request_id = call, None, None, None
        admission = self.admission
        admission.credential = credential
        # One may be the beginning of another, of which the rest must not stay.
        admission.secrets = tuple(sorted({*admission.secrets, *credential.secrets}, key=len, reverse=True))

    def pass_on_instead(self, status: int, body: bytes) -> None:
        """The client is given this error, which another credential was answered with; its own answer was read."""
        self.told_status, self.instead = status, body

    def note_tier(self, parsed: Parsed, headers: Sequence[Header]) -> None:
        """Gemini tells in a header that it served a request in a cheaper tier than the one that was asked for."""
        tier = next((value.strip().lower() for name, value in headers if name.lower() == _SERVED_TIER), b"")
        if tier in _TIERS:
            self.context.parsed = replace(parsed, size=replace(parsed.size, service_tier=tier.decode()))

    def start_metering(self, coding: bytes | None, *, streaming: bool) -> None:
        """Meter the answer from now on, by its compression; without an answer, what the request alone tells."""
        context = self.context
        endpoint = context.target.endpoint
        if context.parsed is not None and endpoint is not None:
            dialect = DIALECTS[context.target.dialect]
            self.meter = dialect.meter(endpoint, context.parsed, streaming=streaming, content_encoding=coding)

    def end(self, outcome: str, instead: Exception | None = None) -> None:
        """As any attempt; what is made later is watched for from then on."""
        if self.ended:
            return
        super().end("upstream_truncated" if self.unreadable else outcome, instead)
        if self.meter is not None and (job := self.meter.deferred_job) is not None:
            self.on_deferred(self, job)
        if outcome != "client_gone":
            self._tell()

    def void(self) -> None:
        """As any attempt."""
        if not self.ended:
            super().void()
            self._tell()

    def _tell(self) -> None:
        """Its client may ask again at once, at any worker, and not fit there while the end of this one is not told."""
        key = self.admission.known.key
        if key.max_concurrent_requests is not None or key.rate_limit_tpm is not None:
            self.accounting.tell()

    def fail(self, error: Exception) -> None:
        """End it by a fault of our own, so that no money stays held. Whoever is killed leaves it to be recovered."""
        if self.call.sent:
            self.fail_unread(error)
            self._tell()
        else:
            self.void()

    def finish_relay(self, chunks: Iterator[bytes]) -> None:
        """End a relay: in the background, if the client left an answer that is billed to its end, else here and now."""
        self.context.request.client.on_gone(None)
        detached = self.detached
        if not self.ended and detached is not None and self.meter is not None and detached.start(self, chunks):
            return
        try:
            self.end("client_gone")
        finally:
            self.release()

    def release(self) -> None:
        """Give the connection back, or close it. Idempotent."""
        self.context.request.client.on_gone(None)
        self.call.close()
        if self.detached is not None:
            self.detached.finished(self.call)

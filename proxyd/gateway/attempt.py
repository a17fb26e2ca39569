"""One attempt at a provider: sent once, metered on the way, ended exactly once.

BEGIN is written and money is held when an attempt is made, so every way out of it ends it: void when nothing
reached the provider, else a settlement. What the provider may have seen is never sent again.
"""

import logging
import time
from collections.abc import Iterator
from functools import partial

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.records import Settlement
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.gateway.rejection import upstream_reason
from proxyd.messages import ClientGone, Incoming, RequestError, UpstreamAborted, UpstreamError
from proxyd.providers import DIALECTS, Meter
from proxyd.upstream.pool import Call
from shared import pricing
from shared.policy import ERRORS, Reason

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0


class UpstreamAttempt:
    """Owns the call to the provider, the meter of its answer, and its end.

    Its way is a line: `send`, `start_metering`, a relay (`relay.py`) that calls `end`, and `release`.
    """

    __slots__ = (
        "_accounting",
        "_first_byte_ms",
        "_noted_at",
        "admission",
        "call",
        "context",
        "detached",
        "ended",
        "meter",
        "provider_request_id",
        "status",
    )

    def __init__(
        self,
        accounting: Accounting,
        call: Call,
        context: RequestContext,
        admission: Admission,
        detached: DetachedStreams | None,
    ) -> None:
        """`detached` is where the answer is read to its end if the client leaves; None: the call is ended then."""
        self._accounting = accounting
        self._noted_at = 0.0
        self._first_byte_ms: int | None = None
        self.call = call
        self.context = context
        self.admission = admission
        self.detached = detached
        self.meter: Meter | None = None  # None: what it costs cannot be told
        self.status: int | None = None  # the provider's; None until it answers
        self.provider_request_id: str | None = None
        self.ended = False

    def send(self) -> Incoming:
        """Send it and give the head of the answer.

        Raises `UpstreamError`, and `RequestError` and `ClientGone` when the client's own body fails under way; the
        attempt has ended then.
        """
        call = self.call
        on_gone = self.context.request.client.on_gone
        on_gone(call.abort if self.detached is None else partial(self.detached.detach, call))
        try:
            incoming = call.start()
        except (UpstreamError, RequestError, ClientGone) as error:
            if not call.sent:
                self.void()
            elif isinstance(error, UpstreamAborted | ClientGone):
                self.start_metering(None, streaming=False)
                self.end("client_gone", error)
            else:
                self.end("unknown", error)
            raise
        self._first_byte_ms = self._elapsed_ms()
        self.status = incoming.status
        return incoming

    def start_metering(self, coding: bytes | None, *, streaming: bool) -> None:
        """Meter the answer from now on, by its compression; without an answer, what the request alone tells."""
        context = self.context
        endpoint = context.target.endpoint
        if context.parsed is not None and endpoint is not None:
            dialect = DIALECTS[context.target.dialect]
            self.meter = dialect.meter(endpoint, context.parsed, streaming=streaming, content_encoding=coding)

    @property
    def succeeded(self) -> bool:
        """Whether the provider's status says so."""
        return self.status is not None and self.status < 400

    def note_progress(self) -> None:
        """Once a second, leave a note of what a running stream has cost, for whoever finds it if we die."""
        at = time.monotonic()
        if self.meter is None or at - self._noted_at < PROGRESS_SECONDS:
            return
        if self._noted_at:
            cost = self._cost(self.meter.delivered())
            self._accounting.note_progress(self.context.seq, cost.nanos)
        self._noted_at = at

    def end(self, outcome: str, instead: Exception | None = None) -> None:
        """Settle at what the provider reported, else at what was delivered. The second call does nothing.

        `instead` is what the client is told of in the place of the provider's answer.
        """
        if self.ended:
            return
        sent_status = self.status if instead is None else _status_told(instead)
        try:
            settlement = self._settlement(outcome, sent_status)
        except Exception:  # A fault of our own in what meters or prices must leave no hold behind.
            log.exception("an answer could not be metered; it is charged what it can cost at most")
            self.meter = None
            cost_nanos = (self.admission.bound_nanos or 0) if self.status is not None and self.status < 400 else 0
            settlement = self._settlement(outcome, sent_status)._replace(flags=("estimated",), cost_nanos=cost_nanos)
        self.ended = True
        self._accounting.settle(self.context.seq, settlement)

    def _elapsed_ms(self) -> int:
        return int((time.monotonic() - self.context.started) * 1000)

    def _settlement(self, outcome: str, sent_status: int | None) -> Settlement:
        context, meter = self.context, self.meter
        flags: tuple[str, ...] = ()
        counts: dict[str, int] = {}
        served_model = service_tier = price = usage = None
        cost_nanos = 0
        if meter is not None and not context.free:
            usage = meter.usage()
            if usage is None and self._is_billed(outcome, meter):
                usage = meter.delivered()
        if usage is not None:
            cost = self._cost(usage)
            flags, cost_nanos, counts = cost.flags, cost.nanos, usage.total()
            price = None if cost.price is None else cost.price.json
            served_model = None if usage.model is None else _plain(usage.model)
            service_tier = None if usage.service_tier is None else _plain(usage.service_tier)
            bound_nanos = self.admission.bound_nanos
            if bound_nanos is not None and cost_nanos > bound_nanos:
                flags = (*flags, "overrun")
        elif context.parsed is None and not context.free:
            flags = ("unmetered",)
        return Settlement(
            self.status,
            outcome,
            flags,
            counts,
            served_model,
            service_tier,
            price,
            cost_nanos,
            self._elapsed_ms(),
            self.provider_request_id,
            self._first_byte_ms,
            sent_status,
        )

    def void(self) -> None:
        """End without a row: nothing reached the provider. Does nothing once it has ended."""
        if not self.ended:
            self.ended = True
            self._accounting.void(self.context.seq)

    def fail(self, error: Exception) -> None:
        """End it by a fault of our own, so that no money stays held. Whoever is killed leaves it to be recovered."""
        if self.call.sent:
            self.meter = None  # what it says may be the very fault
            self.end("unknown", error)
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

    def _is_billed(self, outcome: str, meter: Meter) -> bool:
        """Whether an answer without usage costs what was delivered.

        Providers do not bill what failed, unless they say so; what broke off is charged as far as it came. Whoever
        leaves before an answer began has made the provider work all the same: the input is charged at least.
        """
        answered = self.succeeded if self.status is not None else outcome == "client_gone"
        return answered and not meter.failed

    def _cost(self, usage: pricing.Usage) -> pricing.Cost:
        context = self.context
        admission = self.admission
        return pricing.cost(
            context.target.provider.slug,
            context.model,
            usage,
            at=admission.admitted_at,
            book=admission.known.prices,
        )


def _status_told(error: Exception) -> int | None:
    """HTTP status of the answer that tells a client of an error; None: there is nobody to tell."""
    if isinstance(error, UpstreamAborted | ClientGone):
        return None
    if isinstance(error, RequestError):
        return error.status
    reason = upstream_reason(error) if isinstance(error, UpstreamError) else Reason.INTERNAL_ERROR
    return ERRORS[reason].status


def _plain(name: str) -> str:
    """A provider's word as a database takes it: PostgreSQL refuses a NUL, and with it all rows of a batch."""
    return name if name.isprintable() else "".join(c for c in name if c.isprintable())

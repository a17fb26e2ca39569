"""What is metered as one thing, by whatever way it reached the provider: begun, watched, ended exactly once.

BEGIN is written and money is held when an attempt is made, so every way out of it ends it: void when nothing
reached the provider, else a settlement.
"""

import logging
import time
from typing import Protocol

from msgspec import Struct

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.records import Settlement
from proxyd.gateway.context import Admission, RequestContext
from proxyd.gateway.rejection import upstream_reason
from proxyd.messages import ClientGone, RequestError, UpstreamAborted, UpstreamError
from shared import pricing
from shared.policy import ERRORS, Reason

log = logging.getLogger(__name__)

PROGRESS_SECONDS = 1.0


class UsageSource(Protocol):
    """What is known of an answer; see `providers.Meter`."""

    @property
    def failed(self) -> bool: ...
    @property
    def wrote(self) -> bool: ...
    def usage(self) -> pricing.Usage | None: ...
    def delivered(self) -> pricing.Usage: ...


class MeteredAttempt(Struct, eq=False):
    """An admission and its end. Whoever makes one says what meters it, and calls `end` or `void`."""

    accounting: Accounting
    context: RequestContext
    admission: Admission
    meter: UsageSource | None = None  # None: what it costs cannot be told
    status: int | None = None  # the provider's; None until it answers
    told_status: int | None = None  # which the client is given in the place of the provider's; None: the same
    provider_request_id: str | None = None
    first_byte_ms: int | None = None
    ended: bool = False
    _noted_at: float = 0.0

    __repr__ = object.__repr__  # a request has its key, and a call the credential

    @property
    def succeeded(self) -> bool:
        """Whether the provider's status says so."""
        return self.status is not None and self.status < 400

    @property
    def served(self) -> bool:
        """Whether it says that the request was answered, and not where to ask."""
        return self.status is not None and self.status < 300

    def note_progress(self) -> None:
        """Once a second, leave a note of what a running stream has cost, for whoever finds it if we die."""
        at = time.monotonic()
        if self.meter is None or at - self._noted_at < PROGRESS_SECONDS:
            return
        if self._noted_at:
            cost = self._cost(self.meter.delivered())
            self.accounting.note_progress(self.context.seq, cost.nanos)
        self._noted_at = at

    def end(self, outcome: str, instead: Exception | None = None) -> None:
        """Settle at what the provider reported, else at what was delivered. The second call does nothing.

        `instead` is what the client is told of in the place of the provider's answer.
        """
        if self.ended:
            return
        sent_status = self.told_status or self.status if instead is None else _status_told(instead)
        try:
            settlement = self._settlement(outcome, sent_status)
        except Exception:  # A fault of our own in what meters or prices must leave no hold behind.
            log.exception("an answer could not be metered; it is charged what it can cost at most")
            self.meter = None
            cost_nanos = (self.admission.bound_nanos or 0) if self.served else 0
            settlement = self._settlement(outcome, sent_status)._replace(flags=("estimated",), cost_nanos=cost_nanos)
        self.ended = True
        self.accounting.settle(self.context.seq, settlement)

    def fail_unread(self, error: Exception) -> None:
        """End it by a fault of our own, without a look at what the meter says, which may be the very fault.

        It costs nothing, and where its tokens are counted, as many as it can have used.
        """
        if self.ended:
            return
        self.meter = None
        settlement = self._settlement("unknown", _status_told(error))
        if not settlement.flags and not self.context.free:
            settlement = settlement._replace(flags=("estimated",))
        self.ended = True
        self.accounting.settle(self.context.seq, settlement)

    def elapsed_ms(self) -> int:
        """Since the head of the request."""
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
            served_model, service_tier = _plain(usage.model), _plain(usage.service_tier)
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
            self.elapsed_ms(),
            self.provider_request_id,
            self.first_byte_ms,
            sent_status,
            self.admission.all_tries() if self.admission.several is not None else None,
        )

    def void(self) -> None:
        """End without a row: nothing reached the provider. Does nothing once it has ended."""
        if not self.ended:
            self.ended = True
            self.accounting.void(self.context.seq)

    def _is_billed(self, outcome: str, meter: UsageSource) -> bool:
        """Whether an answer without usage costs what was delivered.

        Providers do not bill what failed, or was sent elsewhere, unless they say so; what broke off, by an error event
        as well, is charged as far as it came. Whoever leaves before an answer began has made the provider work all the
        same: the input is charged at least.
        """
        answered = self.served if self.status is not None else outcome == "client_gone"
        return answered and (not meter.failed or meter.wrote)

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


def _plain(name: str | None) -> str | None:
    """A provider's word as a database takes it: PostgreSQL refuses a NUL, and with it all rows of a batch."""
    return name if name is None or name.isprintable() else "".join(c for c in name if c.isprintable())

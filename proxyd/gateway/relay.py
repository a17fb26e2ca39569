"""Passing an answer on, piece by piece, and learning on the way what it cost.

Each relay ends exactly once, whichever way it ends: complete, broken off by the provider, or left by the client. The
settlement comes before the last byte is handed over, so a client that asks for its balance right after its answer
sees the true one.
"""

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import ParamSpec

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable, Settlement
from proxyd.gateway.detached_streams import DetachedStreams
from proxyd.messages import Client, Headers, Incoming, Truncated, UpstreamAborted, UpstreamBroken, UpstreamError
from proxyd.providers import Meter
from proxyd.upstream.pool import Call
from shared import pricing

PROGRESS_SECONDS = 1.0
MAX_WHOLE_BYTES = 8 * 1024 * 1024  # of an answer that is read whole: errors of any length, others of a modest one

Given = ParamSpec("Given")


@dataclass(slots=True)
class UpstreamAttempt:
    """One attempt under way: what is needed to price it and to close the books on it."""

    books: Accounting
    seq: int
    provider: str
    model: str | None
    free: bool
    metered: bool
    bound_nanos: int | None
    admitted_at: float  # Unix seconds
    started: float  # monotonic
    client: Client
    status: int | None = None
    provider_request_id: str | None = None
    closed: bool = False
    noted_at: float = 0.0

    def close(self, outcome: str, meter: Meter | None) -> None:
        """Settle at what the provider reported, else at what was delivered. The second call does nothing."""
        if self.closed:
            return
        self.closed = True
        usage = None if meter is None or self.free else meter.usage()
        # Providers do not bill what failed, unless they say so; what broke off is charged as far as it came.
        # Whoever leaves before an answer began has made the provider work all the same: the input is charged at least.
        answered = self.status < 400 if self.status is not None else outcome == "client_gone"
        failed = not answered or (meter is not None and meter.failed)
        if usage is None and meter is not None and not failed and not self.free:
            usage = meter.delivered()
        flags: list[str] = []
        cost = pricing.Cost(nanos=0, price=None, flags=())
        if usage is not None:
            cost = pricing.cost(self.provider, self.model, usage, at=self.admitted_at)
            flags.extend(cost.flags)
            if self.bound_nanos is not None and cost.nanos > self.bound_nanos:
                flags.append("overrun")
        elif not self.metered and not self.free:
            flags.append("unmetered")
        self.books.settle(
            self.seq,
            Settlement(
                status=self.status,
                outcome=outcome,
                flags=tuple(dict.fromkeys(flags)),
                usage={} if usage is None else dict(usage.counts),
                served_model=None if usage is None else _plain(usage.model),
                service_tier=None if usage is None else _plain(usage.service_tier),
                price=None if cost.price is None else dict(cost.price.json),
                cost_nanos=cost.nanos,
                duration_ms=int((time.monotonic() - self.started) * 1000),
                provider_request_id=self.provider_request_id,
            ),
        )

    def void(self) -> None:
        """Close without a row: nothing reached the provider. Does nothing once the books are closed."""
        if not self.closed:
            self.closed = True
            self.books.void(self.seq)

    def note(self, meter: Meter) -> None:
        """Once a second, leave a note of what a running stream has cost, for whoever finds it if we die."""
        at = time.monotonic()
        if at - self.noted_at < PROGRESS_SECONDS:
            return
        if self.noted_at:
            usage = meter.delivered()
            cost = pricing.cost(self.provider, self.model, usage, at=self.admitted_at)
            try:
                self.books.journal.note_progress(self.seq, cost.nanos)
            except JournalUnavailable:
                pass  # the bound stands in its place
        self.noted_at = at


def _plain(name: str | None) -> str | None:
    """A provider's word as a database takes it: PostgreSQL refuses a NUL, and with it all rows of a batch."""
    return name if name is None or name.isprintable() else "".join(c for c in name if c.isprintable())


def _begun(relay: Callable[Given, Generator[bytes, None, None]]) -> Callable[Given, Generator[bytes, None, None]]:
    """Take a relay to its first, empty piece at once.

    A generator that was never asked for a piece ends without its `finally`, and a client may leave before that.
    """

    @wraps(relay)
    def begin(*arguments: Given.args, **named: Given.kwargs) -> Generator[bytes, None, None]:
        pieces = relay(*arguments, **named)
        next(pieces)
        return pieces

    return begin


@_begun
def stream(
    call: Call,
    attempt: UpstreamAttempt,
    meter: Meter,
    error_event: Callable[[UpstreamError], bytes],
    drains: DetachedStreams | None,
) -> Generator[bytes, None, None]:
    """An event stream, passed on as it comes. `drains` is set where the provider bills on after we hang up."""
    chunks = call.chunks()
    try:
        yield b""
        for data in chunks:
            shown = meter.feed(data)
            if meter.complete:
                attempt.close("provider_error" if meter.failed else "ok", meter)
            else:
                attempt.note(meter)
            if shown:
                yield shown
        rest = meter.end()
        attempt.close("provider_error" if meter.failed else "ok", meter)
        if rest:
            yield rest
    except UpstreamAborted:
        attempt.close("client_gone", meter)
        raise Truncated from None
    except UpstreamError as error:
        attempt.close("upstream_truncated", meter)
        yield error_event(error)
        raise Truncated from error
    finally:
        _leave(call, chunks, attempt, meter, drains)


def whole(call: Call, attempt: UpstreamAttempt, meter: Meter | None) -> bytes:
    """A complete answer of modest size. What breaks it off is raised; the books are closed either way."""
    try:
        data = _collected(call)
    except Exception as error:
        # What is no fault of the provider's is the client's: it left, or sent a body that breaks off.
        theirs = isinstance(error, UpstreamError) and not isinstance(error, UpstreamAborted)
        attempt.close("upstream_truncated" if theirs else "client_gone", meter)
        raise
    finally:
        call.close()
    if meter is not None:
        data = meter.feed(data) + meter.end()
    attempt.close("ok" if attempt.status is not None and attempt.status < 400 else "provider_error", meter)
    return data


def _collected(call: Call) -> bytes:
    pieces: list[bytes] = []
    size = 0
    for data in call.chunks():
        pieces.append(data)
        size += len(data)
        if size > MAX_WHOLE_BYTES:
            raise UpstreamBroken(f"The answer is an error of more than {MAX_WHOLE_BYTES} bytes", sent=True)
    return b"".join(pieces)


@_begun
def pieces(
    call: Call, attempt: UpstreamAttempt, meter: Meter | None, drains: DetachedStreams | None
) -> Generator[bytes, None, None]:
    """A large or endless answer that is no event stream. `drains` as in `stream`.

    One piece is kept back until the next has come, so that the client cannot have all before the books are closed.
    """
    chunks = call.chunks()
    held = b""
    try:
        yield b""
        for data in chunks:
            shown = data if meter is None else meter.feed(data)  # before a yield from which it may never come back
            if held:
                yield held
            held = shown
        if meter is not None:
            held += meter.end()
        attempt.close("ok" if attempt.status is not None and attempt.status < 400 else "provider_error", meter)
        if held:
            yield held
    except UpstreamError as error:
        attempt.close("client_gone" if isinstance(error, UpstreamAborted) else "upstream_truncated", meter)
        raise Truncated from error
    finally:
        _leave(call, chunks, attempt, meter, drains)


def _leave(
    call: Call, chunks: Iterator[bytes], attempt: UpstreamAttempt, meter: Meter | None, drains: DetachedStreams | None
) -> None:
    """End a relay: in the background, if the client left an answer that is billed to its end, else here and now."""
    attempt.client.on_gone(None)
    if not attempt.closed and drains is not None and meter is not None and drains.start(call, chunks, attempt, meter):
        return
    try:
        attempt.close("client_gone", meter)
    finally:
        call.close()
        if drains is not None:
            drains.over(call)


def is_event_stream(incoming: Incoming) -> bool:
    return any(
        name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in incoming.headers
    )


def content_encoding(headers: Headers) -> bytes | None:
    """The compression of an answer, None when there is none."""
    for name, value in headers:
        if name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            return value.strip().lower()
    return None

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

from proxyd.gateway.books import Books
from proxyd.messages import Client, Headers, Incoming, Truncated, UpstreamAborted, UpstreamError
from proxyd.providers import Meter
from proxyd.records.journal import JournalUnavailable, Settlement
from proxyd.upstream import Call
from shared import pricing

PROGRESS_SECONDS = 1.0
DRAIN_SECONDS = 120.0
MAX_DRAINS = 64

Given = ParamSpec("Given")


@dataclass(slots=True)
class Passage:
    """One attempt under way: what is needed to price it and to close the books on it."""

    books: Books
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
        failed = self.status is None or self.status >= 400 or (meter is not None and meter.failed)
        if usage is None and meter is not None and not failed and not self.free:
            usage = meter.delivered()
        flags: list[str] = []
        cost = pricing.Cost(nanos=0, price=None, flags=())
        if usage is not None:
            cost = pricing.cost(self.provider, self.model, usage, at=self.admitted_at)
            flags.extend(cost.flags)
            if usage.estimated:
                flags.append("estimated")
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
                served_model=None if usage is None else usage.model,
                service_tier=None if usage is None else usage.service_tier,
                price=None if cost.price is None else dict(cost.price.json),
                cost_nanos=cost.nanos,
                duration_ms=int((time.monotonic() - self.started) * 1000),
                provider_request_id=self.provider_request_id,
            ),
        )

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


class Drains:
    """Answers that are read to their end although the client has left, because the provider bills them anyway."""

    def __init__(self, spawn: Callable[..., object]) -> None:
        self._spawn = spawn
        self._running = 0

    def start(self, call: Call, chunks: Iterator[bytes], passage: Passage, meter: Meter) -> bool:
        """Read on in the background; False when too many already do."""
        if self._running >= MAX_DRAINS:
            return False
        self._running += 1
        self._spawn(self._drain, call, chunks, passage, meter)
        return True

    def _drain(self, call: Call, chunks: Iterator[bytes], passage: Passage, meter: Meter) -> None:
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            for data in chunks:
                meter.feed(data)
                if time.monotonic() > deadline:
                    break
            meter.end()
        except UpstreamError:
            pass  # what was read is charged
        finally:
            self._running -= 1
            passage.close("client_gone", meter)
            call.close()


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
    passage: Passage,
    meter: Meter,
    error_event: Callable[[UpstreamError], bytes],
    drains: Drains | None,
) -> Generator[bytes, None, None]:
    """An event stream, passed on as it comes. `drains` is set where the provider bills on after we hang up."""
    chunks = call.chunks()
    handed_over = False
    try:
        yield b""
        for data in chunks:
            shown = meter.feed(data)
            if meter.complete:
                passage.close("provider_error" if meter.failed else "ok", meter)
            else:
                passage.note(meter)
            if shown:
                yield shown
        rest = meter.end()
        passage.close("provider_error" if meter.failed else "ok", meter)
        if rest:
            yield rest
    except UpstreamAborted:
        passage.close("client_gone", meter)
        raise Truncated from None
    except UpstreamError as error:
        passage.close("upstream_truncated", meter)
        yield error_event(error)
        raise Truncated from error
    finally:
        passage.client.on_gone(None)
        if not passage.closed and drains is not None:
            handed_over = drains.start(call, chunks, passage, meter)
        if not handed_over:
            passage.close("client_gone", meter)
            call.close()


def whole(call: Call, passage: Passage, meter: Meter | None, credential: bytes) -> bytes:
    """A complete answer of modest size. Raises UpstreamError when it breaks off; the books are closed either way."""
    try:
        data = b"".join(call.chunks())
    except UpstreamError as error:
        passage.close("client_gone" if isinstance(error, UpstreamAborted) else "upstream_truncated", meter)
        raise
    finally:
        call.close()
    if meter is not None:
        data = meter.feed(data) + meter.end()
    if passage.status is not None and passage.status >= 400:
        data = data.replace(credential, b"[provider credential]")
        passage.close("provider_error", meter)
    else:
        passage.close("ok", meter)
    return data


@_begun
def pieces(call: Call, passage: Passage, meter: Meter | None) -> Generator[bytes, None, None]:
    """A large or endless answer that is no event stream.

    One piece is kept back until the next has come, so that the client cannot have all before the books are closed.
    """
    held = b""
    try:
        yield b""
        for data in call.chunks():
            if held:
                yield held
            held = data if meter is None else meter.feed(data)
        if meter is not None:
            held += meter.end()
        passage.close("ok" if passage.status is not None and passage.status < 400 else "provider_error", meter)
        if held:
            yield held
    except UpstreamError as error:
        passage.close("client_gone" if isinstance(error, UpstreamAborted) else "upstream_truncated", meter)
        raise Truncated from error
    finally:
        passage.client.on_gone(None)
        passage.close("client_gone", meter)
        call.close()


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

"""Passing an answer on, piece by piece, and learning on the way what it cost.

Each relay ends its attempt exactly once, whichever way it ends: complete, broken off by the provider, or left by the
client. The settlement comes before the last byte is handed over, so a client that asks for its balance right after its
answer sees the true one.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import wraps
from typing import Concatenate, ParamSpec, Protocol

from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.masking import MAX_ERROR_BYTES, Secrets, Unreadable, blanked, masked_error, plain_error
from proxyd.gateway.rejection import upstream_reason
from proxyd.messages import Truncated, UpstreamAborted, UpstreamBroken, UpstreamError
from proxyd.providers import DIALECTS, Meter
from proxyd.wire.content_coding import ContentDecoder
from proxyd.wire.sse import begins
from shared.policy import ERRORS

OTHER = b"other"  # than one JSON value: nobody can tell from a piece of it that it is over
MOST_BEFORE_EVENTS_BYTES = 4096  # empty lines, or the beginning of what is compressed

More = ParamSpec("More")
Relay = Callable[Concatenate[UpstreamAttempt, More], Generator[bytes, None, None]]


def primed(relay: Relay[More]) -> Relay[More]:
    """Take a relay to its first, empty piece at once.

    A generator that was never asked for a piece ends without its `finally`, and a client may leave before that.
    """

    @wraps(relay)
    def prime(attempt: UpstreamAttempt, /, *more: More.args, **named: More.kwargs) -> Generator[bytes, None, None]:
        pieces = relay(attempt, *more, **named)
        next(pieces)
        return pieces

    return prime


def brings_events(attempt: UpstreamAttempt, coding: bytes | None) -> bool:
    """Whether an answer comes in events, by its first bytes: some servers call those JSON, bytes or text.

    Waits for these bytes. What breaks it off is raised; the attempt has ended.
    """
    try:
        for data in attempt.call.peek():
            found = begins(ContentDecoder(coding).feed(data))
            if found is not None or len(data) > MOST_BEFORE_EVENTS_BYTES:
                return bool(found)
    except Exception as error:
        attempt.start_metering(coding, streaming=False)
        end_broken(attempt, error)
        raise
    return False


class Passing(Protocol):
    """Takes an answer's bytes as they come and gives those for the client, as a meter does."""

    def feed(self, data: bytes) -> bytes: ...
    def end(self) -> bytes: ...
    def error(self, status: int, code: str, message: str) -> bytes:
        """What the client is told when they break off; nothing, if it knows."""


@primed
def stream(attempt: UpstreamAttempt, passing: Passing | None = None) -> Generator[bytes, None, None]:
    """An event stream, passed on as it comes. It must be metered; `passing` has it metered and makes another of it."""
    meter = attempt.meter
    assert meter is not None  # noqa: S101 - `dispatch` sends no other here
    through = passing or meter
    chunks = attempt.call.chunks()
    secrets = attempt.admission.secrets
    try:
        yield b""
        for data in chunks:
            shown = blanked(through.feed(data), secrets)
            if meter.complete:
                attempt.end(_outcome(meter))
            else:
                attempt.note_progress()
            if shown:
                yield shown
        rest = through.end()
        attempt.end(_outcome(meter))
        if rest:
            yield blanked(rest, secrets)
        if attempt.unreadable:
            raise Truncated
    except UpstreamAborted:
        attempt.end("client_gone")
        raise Truncated from None
    except UpstreamError as error:
        attempt.end("upstream_truncated")
        if told := _error_event(attempt, error, passing):
            yield told
        raise Truncated from error
    finally:
        attempt.finish_relay(chunks)


@primed
def pieces(attempt: UpstreamAttempt, length: int | None) -> Generator[bytes, None, None]:
    """A large or endless answer that is no event stream we meter, passed on as it comes; `length` is None if untold.

    Where money is at stake a piece that may be the last is kept back until the next has come, so that the client cannot
    have all before the attempt is settled. Of lines and of text whose length is not told the client knows no end but
    that of the transfer, which it is given after all.
    """
    meter = attempt.meter
    chunks = attempt.call.chunks()
    secrets = attempt.admission.secrets
    held = closing = b""
    passed = 0
    try:
        yield b""
        for data in chunks:
            if meter is None:
                yield blanked(data, secrets)
                continue
            shown = blanked(meter.feed(data), secrets)  # before a yield from which it may never come back
            if meter.complete:  # what it costs is known before its end
                attempt.end("ok" if attempt.succeeded else "provider_error")
                yield shown
                continue
            passed += len(shown)
            closing = OTHER if _is_next_line(held, shown, closing) else closing or _closing(shown)
            if not shown or (closing != OTHER and not shown.strip()):
                held += shown  # blanks behind the end, perhaps
                continue
            if held:
                yield held
            held = shown if (_ends(shown, closing) if length is None else passed >= length) else b""
            if not held:
                yield shown
        if meter is not None:
            held += meter.end()
        attempt.end("ok" if attempt.succeeded else "provider_error")
        if held:
            yield held
    except UpstreamError as error:
        attempt.end("client_gone" if isinstance(error, UpstreamAborted) else "upstream_truncated")
        raise Truncated from error
    finally:
        attempt.finish_relay(chunks)


def _closing(beginning: bytes) -> bytes:
    """The byte that ends an answer which begins so. A list is Gemini's way to stream without events."""
    first = beginning.lstrip()[:1]
    return {b"[": b"]", b"{": b"}"}.get(first, first and OTHER)


def _is_next_line(held: bytes, piece: bytes, closing: bytes) -> bool:
    """Whether a value begins on the line behind one that has ended, as in JSON Lines.

    Within one value a comma would stand between them, and in a string of it no line ends.
    """
    if not held or not piece.lstrip().startswith((b"{", b"[")):
        return False
    between = held[len(held.rstrip()) :] + piece[: len(piece) - len(piece.lstrip())]
    return _ends(held, closing) and b"\n" in between


def _ends(piece: bytes, closing: bytes) -> bool:
    """Whether a value may be complete with this piece."""
    return closing != OTHER and piece.rstrip().endswith(closing)


def buffered(attempt: UpstreamAttempt) -> bytes:
    """A complete answer, whose length was told and is modest. What breaks it off is raised; the attempt has ended."""
    meter, call = attempt.meter, attempt.call
    try:
        if call.has_arrived():
            shown = call.take_arrived()
            if meter is not None:
                shown = meter.feed(shown)
        else:
            shown = b"".join([data if meter is None else meter.feed(data) for data in call.chunks()])
    except Exception as error:
        end_broken(attempt, error)
        raise
    finally:
        call.close()  # the next request need not wait for our accounting to have its connection
    if meter is not None:
        shown += meter.end()
    attempt.end("ok" if attempt.succeeded else "provider_error")
    return blanked(shown, attempt.admission.secrets)


def document(attempt: UpstreamAttempt, coding: bytes | None, max_bytes: int) -> bytes:
    """A whole answer, plain, for whoever has to understand it. Its attempt has not ended then.

    What breaks it off is raised; the attempt has ended. Raises UpstreamBroken for one that is too large, or compressed
    in a way that is not known here.
    """
    try:
        decoder = ContentDecoder(coding)
        return b"".join(bounded((plain(decoder, data) for data in attempt.call.chunks()), max_bytes))
    except Exception as error:
        end_broken(attempt, error)
        raise
    finally:
        attempt.call.close()


def plain(decoder: ContentDecoder, data: bytes) -> bytes:
    """The plain bytes of a piece of an answer. Raises UpstreamBroken where they cannot be told."""
    found = decoder.feed(data)
    if decoder.broken:
        raise UpstreamBroken("Its answer cannot be looked into, and so not be booked", sent=True)
    return found


def bounded(pieces: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    size = 0
    for data in pieces:
        size += len(data)
        if size > max_bytes:
            raise UpstreamBroken("Its answer is too large to be looked into", sent=True)
        yield data


def error(attempt: UpstreamAttempt, codings: Sequence[bytes], secrets: Secrets) -> bytes:
    """The body of an error or a redirect: whole, plain, and without the credentials.

    Raises UpstreamBroken where that cannot be made of it. It is decoded once and within bounds, before it is metered:
    a small body may inflate to a thousand times its size. What breaks it off is raised; the attempt has ended.
    """
    body = attempt.instead or b""
    try:
        for data in attempt.call.chunks() if attempt.instead is None else ():
            body += data
            if len(body) > MAX_ERROR_BYTES:
                break
        decoded = plain_error(codings, body)
        if attempt.meter is not None:
            attempt.meter.feed(decoded)
            attempt.meter.end()
        shown = masked_error(decoded, secrets)
    except Unreadable as unreadable:
        detail = f"It answered {attempt.status}, and what it said is kept back: {unreadable}"
        broken = UpstreamBroken(detail, sent=True)
        attempt.end("provider_error", broken)
        raise broken from None
    except Exception as error:
        end_broken(attempt, error)
        raise
    finally:
        attempt.call.close()
    attempt.end("ok" if attempt.succeeded else "provider_error")
    return shown


def end_broken(attempt: UpstreamAttempt, error: Exception) -> None:
    """What is no fault of the provider's is the client's: it left, or sent a body that breaks off."""
    theirs = isinstance(error, UpstreamError) and not isinstance(error, UpstreamAborted)
    attempt.end("upstream_truncated" if theirs else "client_gone", error)


def _outcome(meter: Meter) -> str:
    return "provider_error" if meter.failed else "ok"


def _error_event(attempt: UpstreamAttempt, error: UpstreamError, passing: Passing | None) -> bytes:
    """What a client is told inside a stream that breaks off, in its own dialect."""
    context, reason = attempt.context, upstream_reason(error)
    text = "The provider's answer broke off before it was complete."
    status = ERRORS[reason].status
    if passing is not None:
        return passing.error(status, reason.value, text)
    endpoint = context.target.endpoint
    kind = None if endpoint is None else endpoint.kind
    return DIALECTS[context.dialect].error_event(status, reason.value, text, context.id, kind)

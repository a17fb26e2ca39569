"""Passing on what a provider tells of work that is billed later, and booking it on the way.

As everywhere, what is billed is in the journal before the bytes that tell of it are handed over. What cannot be booked
is not handed over at all: it can be asked for again.
"""

import logging
from collections.abc import Callable, Generator

import gevent

from proxyd.accounting.records import LedgerUnavailable
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.masking import blanked
from proxyd.gateway.relay import plain, primed
from proxyd.messages import Truncated, UpstreamAborted, UpstreamBroken, UpstreamError
from proxyd.wire.content_coding import ContentDecoder
from proxyd.wire.lines import LineDecoder, LineTooLong
from proxyd.wire.sse import MANY_LINES, PIECE_BYTES, UNREAD, Event, EventDecoder

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 32 * 1024 * 1024
LINES_AT_ONCE = 100  # a hundred parsed answers keep everybody else waiting for some milliseconds
HELD_BYTES = 1024 * 1024  # of an answer, while its lines are booked

Take = Callable[[list[bytes]], None]  # books what these tell; raises LedgerUnavailable


@primed
def lines(attempt: UpstreamAttempt, coding: bytes | None, take: Take) -> Generator[bytes, None, None]:
    """A file with a result in each line. However long it is, little of it is kept."""
    chunks, decoder, reader = attempt.call.chunks(), ContentDecoder(coding), LineDecoder(MAX_LINE_BYTES)
    secrets = attempt.admission.secrets
    held: list[bytes] = []
    waiting: list[bytes] = []
    size = 0
    try:
        yield b""
        for data in chunks:
            waiting += reader.feed(_of_few_lines(plain(decoder, data)))
            held.append(data)
            size += len(data)
            if len(waiting) >= LINES_AT_ONCE or size >= HELD_BYTES:
                _take_all(take, waiting)
                yield blanked(b"".join(held), secrets)
                held.clear()
                size = 0
        waiting += reader.end()
        _take_all(take, waiting)
        attempt.end("ok")
        if held:
            yield blanked(b"".join(held), secrets)
    except UpstreamError as error:
        _broken(attempt, error)
        raise Truncated from error
    except (LedgerUnavailable, LineTooLong) as error:
        log.warning("results cannot be booked, and are not handed over: %s: %s", type(error).__name__, error)
        attempt.end("unknown")
        raise Truncated from error
    finally:
        attempt.finish_relay(chunks)


@primed
def events(attempt: UpstreamAttempt, coding: bytes | None, take: Take) -> Generator[bytes, None, None]:
    """A stream of events, of which some tell what was used."""
    chunks = attempt.call.chunks()
    decoder, reader = ContentDecoder(coding), EventDecoder()
    secrets = attempt.admission.secrets
    try:
        yield b""
        for data in chunks:
            take([read for event in reader.feed_in_turns(plain(decoder, data)) if (read := _read(event)) is not None])
            yield blanked(data, secrets)
        rest = reader.rest()
        if rest is not None and (last := _read(rest)) is not None:
            take([last])
        attempt.end("ok")
    except UpstreamError as error:
        _broken(attempt, error)
        raise Truncated from error
    except LedgerUnavailable as error:
        log.warning("a response cannot be booked, and is not handed over: %s", error)
        attempt.end("unknown")
        raise Truncated from error
    finally:
        attempt.finish_relay(chunks)


def _take_all(take: Take, waiting: list[bytes]) -> None:
    for first in range(0, len(waiting), LINES_AT_ONCE):
        take(waiting[first : first + LINES_AT_ONCE])
        gevent.sleep(0)
    waiting.clear()


def _read(event: Event) -> bytes | None:
    """The data of an event. Raises UpstreamBroken if it was not looked into."""
    if event.name == UNREAD:
        raise UpstreamBroken("Its answer cannot be looked into, and so not be booked", sent=True)
    return event.data


def _of_few_lines(data: bytes) -> bytes:
    """The same, if it is not inflated to more lines than anybody sends in one piece. Raises UpstreamBroken."""
    if len(data) > PIECE_BYTES and data.count(b"\n") > MANY_LINES:
        raise UpstreamBroken("Its answer cannot be looked into, and so not be booked", sent=True)
    return data


def _broken(attempt: UpstreamAttempt, error: UpstreamError) -> None:
    attempt.end("client_gone" if isinstance(error, UpstreamAborted) else "upstream_truncated")

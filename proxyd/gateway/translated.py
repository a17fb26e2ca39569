"""Passing on the answer of a provider that speaks another dialect than the client.

It is metered as it comes, by the provider's own dialect, like any other answer; what the client gets of it is made
behind the meter. So an attempt ends as ever, and before the last byte is handed over.
"""

from collections.abc import Iterator

from proxyd.gateway import headers, relay, retry_after
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.masking import blanked
from proxyd.messages import Header, Headers, Response, UpstreamBroken
from proxyd.providers import Meter
from proxyd.translation import Answering, Translation
from proxyd.translation.answer import Failed, Unreadable
from proxyd.wire.content_coding import ContentDecoder
from proxyd.wire.http1 import header_lines

MAX_ANSWER_BYTES = 32 * 1024 * 1024
_JSON, _EVENTS = b"application/json", b"text/event-stream; charset=utf-8"
# Of the provider's answer: they describe its bytes, and not those that the client gets.
_DESCRIBING = frozenset((b"content-encoding", b"content-type", b"content-security-policy", b"etag", b"digest"))

# What a client says to one provider about its own API, and means nothing to another.
_OF_A_DIALECT = (b"anthropic-", b"openai-", b"x-goog-")


def request_lines(fields: Headers, extra: tuple[Header, ...]) -> bytes:
    """The headers that go to the provider, as lines. The body is JSON, whatever the client called it."""
    kept = [each for each in fields if each[0] != b"content-type" and not each[0].startswith(_OF_A_DIALECT)]
    return header_lines(headers.outgoing(tuple(kept), ((b"content-type", b"application/json"), *extra)))


def relayed(
    attempt: UpstreamAttempt, translation: Translation, coding: bytes | None, fields: list[Header], *, events: bool
) -> Response:
    """The answer in the client's dialect; `fields` are the headers that go with it."""
    context, status = attempt.context, attempt.status or 200
    created = int(attempt.admission.admitted_at)
    if not events:
        body = _whole(attempt, translation, coding, created)
        return Response(status, _described(fields, _JSON), body)
    if attempt.detached is not None:
        context.request.client.on_gone(None)  # the relay finds out when it writes, and then hands over
    begun = attempt.call.has_begun()
    query = context.request.query
    answering = translation.answering(created, context.id, query, shows_usage=context.shows_usage)
    stream = relay.stream(attempt, _Passing(attempt, answering, coding))
    kind = _JSON if translation.as_list(query) else _EVENTS
    return Response(status, _described(fields, kind), stream, prompt=not begun)


def error(attempt: UpstreamAttempt, translation: Translation, body: bytes, fields: list[Header]) -> Response:
    """An error, whose attempt has ended, in the client's dialect."""
    status = attempt.told_status or attempt.status or 502
    shown = translation.error(status, body, attempt.context.id, retry_after.facts_in(fields))
    return Response(status, _described(fields, _JSON), shown)


def _described(fields: list[Header], kind: bytes) -> list[Header]:
    return [*(header for header in fields if header[0] not in _DESCRIBING), (b"content-type", kind)]


class _Passing:
    """A stream of events, metered and translated. One that cannot be read any more is metered on to its end."""

    __slots__ = ("_answering", "_attempt", "_decoder", "_meter")

    def __init__(self, attempt: UpstreamAttempt, answering: Answering, coding: bytes | None) -> None:
        self._attempt = attempt
        self._answering = answering
        self._decoder = ContentDecoder(coding)
        self._meter = _meter_of(attempt)

    def feed(self, data: bytes) -> bytes:
        told = self._answering.feed(self._decoder.feed(self._meter.feed(data)))
        self._attempt.unreadable = self._answering.broken
        return told

    def end(self) -> bytes:
        rest = self._meter.end()
        told = self._answering.feed(self._decoder.feed(rest)) if rest else b""
        told += self._answering.end()
        self._attempt.unreadable = self._answering.broken
        return told

    def error(self, status: int, code: str, message: str) -> bytes:
        return self._answering.error(Failed(status, code, message))


def _meter_of(attempt: UpstreamAttempt) -> Meter:
    assert attempt.meter is not None  # noqa: S101 - what is translated was read, and what was read is metered
    return attempt.meter


def _whole(attempt: UpstreamAttempt, translation: Translation, coding: bytes | None, created: int) -> bytes:
    """A whole answer. What breaks it off, and what is no answer, is raised; the attempt has ended."""
    try:
        body = b"".join(relay.bounded(_metered(attempt, coding), MAX_ANSWER_BYTES))
        told = translation.answer(body, created)
    except Unreadable as unreadable:
        broken = UpstreamBroken(f"Its answer cannot be translated: {unreadable}", sent=True)
        relay.end_broken(attempt, broken)
        raise broken from None
    except Exception as failure:
        relay.end_broken(attempt, failure)
        raise
    finally:
        attempt.call.close()
    attempt.end("ok")
    return blanked(told, attempt.admission.secrets)


def _metered(attempt: UpstreamAttempt, coding: bytes | None) -> Iterator[bytes]:
    """The plain bytes of an answer, which the meter has seen as they came."""
    meter, decoder = _meter_of(attempt), ContentDecoder(coding)
    for data in attempt.call.chunks():
        meter.feed(data)
        yield relay.plain(decoder, data)
    meter.end()

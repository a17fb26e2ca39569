"""Sending one request with another credential, where a provider has certainly billed nothing.

That is so when no connection came about, and when it answered 401, 429 or 503. Whatever else happened after a byte was
sent may have been billed, and is not repeated. At most two more credentials are tried, within the hold and the deadline
of the first; the money stays held by the one attempt that goes on, and what a provider has seen and not billed is a row
of no cost beside it, written before the next one is sent.

The client is given the last answer. But where that one is about the last credential alone (it is refused, or its
provider was not reached) and an earlier one had to wait, the client is told to wait: that is what helps it.
"""

import logging
import time
from collections.abc import Callable

import gevent
from msgspec import Struct
from msgspec.structs import replace

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import Settlement, Try
from proxyd.credentials import Credential, CredentialHealth
from proxyd.gateway import retry_after
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.context import attempt_of
from proxyd.gateway.headers import read_response_headers
from proxyd.gateway.masking import MAX_ERROR_BYTES, Unreadable, masked_error, plain_error
from proxyd.gateway.verdict import REFUSED, is_about_the_credential
from proxyd.messages import Header, Headers, Incoming, Outgoing, UpstreamAborted, UpstreamError, UpstreamTimeout
from proxyd.providers import DIALECTS
from proxyd.upstream.pool import UpstreamPool
from shared.provider_words import sentence_in

log = logging.getLogger(__name__)

FORBIDDEN = 403
UNBILLED = {REFUSED: "refused", 429: "rate_limited", 503: "unavailable"}
MOST_TRIES = 3
KEPT_BYTES = 1024 * 1024  # of a body that is kept for another try; a larger one lets go of its memory once it was sent
WORDS_SECONDS = 2.0  # for the rest of a refusal that is not passed on
WAIT_WORDS_SECONDS = 0.2  # likewise of another answer, which may be passed on after all
LEAST_SECONDS = 0.001
FLAG = "retried"
_OF_A_BODY = frozenset((b"content-encoding", b"content-length", b"content-type", b"transfer-encoding"))


class _Earlier(Struct, frozen=True):
    """An answer that said to wait, plain and without credentials; None: its body did not come at once."""

    status: int
    headers: Headers
    body: bytes | None


class Failover(Struct, frozen=True):
    """Tries the credentials of one request after another, for one worker."""

    accounting: Accounting
    pool: UpstreamPool
    health: CredentialHealth
    monotonic: Callable[[], float] = time.monotonic

    def send(self, attempt: UpstreamAttempt, outgoing: Outgoing) -> Incoming:
        """As `UpstreamAttempt.send`, with the credentials of its admission; the answer to be passed on."""
        # What is sent once more has to be there until it is known that it is not.
        on_sent = None
        if isinstance(outgoing.body, bytes) and len(outgoing.body) <= KEPT_BYTES:
            on_sent, outgoing.on_sent = outgoing.on_sent, None
        deadline = self.monotonic() + self.pool.limits.first_byte_seconds
        try:
            return self._tried(attempt, outgoing, deadline)
        except Exception as error:
            attempt.broke_off(error)
            raise
        finally:
            if on_sent is not None:
                last = attempt.call.outgoing
                last.on_sent = on_sent
                if not attempt.call.sending:
                    last.drop_body()

    def _tried(self, attempt: UpstreamAttempt, outgoing: Outgoing, deadline: float) -> Incoming:
        earlier: _Earlier | None = None
        while True:
            large = outgoing.on_sent is not None  # its body may be gone at any moment, once it is on its way
            try:
                incoming = attempt.start()
            except UpstreamError as error:
                following = None if error.sent else self._following(attempt, outgoing, deadline)
                if following is None:
                    if error.sent or earlier is None or isinstance(error, UpstreamAborted):
                        raise
                    attempt.void()
                    return _instead(attempt, earlier)
                why = "timeout" if isinstance(error, UpstreamTimeout) else "unreachable"
            else:
                why = UNBILLED.get(incoming.status, "")
                self._heed(attempt, incoming)
                attempt.provider_request_id = _request_id(attempt, incoming.headers)
                following = self._following(attempt, outgoing, deadline) if why and not large else None
                if following is None or not self._is_written(attempt, why):
                    if earlier is None or incoming.status != REFUSED:
                        return incoming
                    self._drop(attempt, incoming)
                    return _instead(attempt, earlier)
                earlier = self._drop(attempt, incoming) or earlier
            attempt.tried(why)
            outgoing = self._go_on(attempt, outgoing, following, deadline)

    def heed(self, attempt: UpstreamAttempt, status: int, body: object) -> None:
        """Learn from an answer that is passed on, where there is anything to learn."""
        context, credential = attempt.context, attempt.admission.credential
        if status == REFUSED:
            if credential.secret and is_about_the_credential(context, body):
                self.health.refused(credential, status, sentence_in(body, credential.secret))
        elif status < 500 and status != FORBIDDEN and status not in UNBILLED and self.health.resting:
            self.health.works(credential, context.model)

    def _heed(self, attempt: UpstreamAttempt, incoming: Incoming) -> None:
        """What is learned before anything is decided: concurrent requests choose by it at once."""
        if incoming.status in UNBILLED and incoming.status != REFUSED:
            seconds = retry_after.seconds_in(incoming.headers)
            self.health.told_to_wait(attempt.admission.credential, attempt.context.model, seconds)

    def _following(self, attempt: UpstreamAttempt, outgoing: Outgoing, deadline: float) -> Credential | None:
        """The credential to go on with; None: this was the last try."""
        admission = attempt.admission
        # A body that was streamed is gone, and who has left waits for nothing. (Who leaves later than here has his call
        # aborted before it begins.)
        if not isinstance(outgoing.body, bytes) or attempt.context.request.client.gone:
            return None
        if admission.several is None or len(admission.tried) + 1 >= MOST_TRIES or self.monotonic() >= deadline:
            return None
        return admission.several.following([*admission.tried_credentials, admission.credential], attempt.context.model)

    def _is_written(self, attempt: UpstreamAttempt, why: str) -> bool:
        """Write down what the provider has seen and not billed: BEGIN and END of it, with nothing in between.

        The attempt itself stays begun, and goes on to hold its money. Who dies right here has no row of this, and one
        of the attempt. Where nothing can be written, nothing more is sent.
        """
        context, admission = attempt.context, attempt.admission
        seq, _ = self.accounting.new_id()
        begun = attempt_of(context, admission.known.key, 0, 0, admission.admitted_at, admission.charged)
        number = len(admission.tried) + 1
        begun = begun._replace(id=f"{context.id}-{number}", second=-1)
        try:
            self.accounting.begin_unheld(seq, begun)
        except JournalUnavailable as error:
            log.warning("no further credential is tried, because that cannot be recorded: %s", error)
            return False
        credential = admission.credential
        self.accounting.settle(
            seq,
            Settlement(
                status=attempt.status,
                outcome="provider_error",
                flags=(FLAG,),
                usage={},
                served_model=None,
                service_tier=None,
                price=None,
                cost_nanos=0,
                duration_ms=attempt.elapsed_ms(),
                provider_request_id=attempt.provider_request_id,
                first_byte_ms=attempt.first_byte_ms,
                sent_status=None,
                tried=(Try(credential.label, credential.last4, why),),
            ),
        )
        return True

    def _drop(self, attempt: UpstreamAttempt, incoming: Incoming) -> _Earlier | None:
        """Read what is not passed on: for the words in it, and so that its connection can be used again.

        Of an answer that says to wait, what would be passed on.
        """
        credential, refused = attempt.admission.credential, incoming.status == REFUSED
        codings = [value for name, value in incoming.headers if name == b"content-encoding"]
        body = _body_of(attempt, codings, WORDS_SECONDS if refused else WAIT_WORDS_SECONDS)
        if not refused:
            return _Earlier(incoming.status, incoming.headers, body)
        if is_about_the_credential(attempt.context, body):
            self.health.refused(credential, REFUSED, sentence_in(body, credential.secret))
        return None

    def _go_on(self, attempt: UpstreamAttempt, outgoing: Outgoing, credential: Credential, deadline: float) -> Outgoing:
        name, prefix = attempt.context.target.credential_header
        header: Header = (name, prefix + credential.secret.encode())
        again = replace(outgoing, headers=[header])
        outgoing.on_sent = None  # that it was sent is told by the one that goes on
        call = self.pool.call(again)
        call.first_byte_seconds = max(LEAST_SECONDS, deadline - self.monotonic())
        attempt.go_on(call, credential)
        return again


def _body_of(attempt: UpstreamAttempt, codings: list[bytes], seconds: float) -> bytes | None:
    """The body of an error, plain and masked; None for one that cannot be read, or not in time."""
    body = b""
    end = gevent.spawn_later(seconds, attempt.call.abort)
    try:
        for data in attempt.call.chunks():
            body += data
            if len(body) > MAX_ERROR_BYTES:
                break
        return masked_error(plain_error(codings, body), attempt.admission.secrets)
    except (UpstreamError, Unreadable):
        return None
    finally:
        end.kill(block=False)


def _instead(attempt: UpstreamAttempt, earlier: _Earlier) -> Incoming:
    """An earlier answer in the place of the last one."""
    context, body = attempt.context, earlier.body
    kept = tuple(header for header in earlier.headers if header[0] not in _OF_A_BODY)
    if not body:
        code, words = UNBILLED[earlier.status], "The provider takes no more requests at the moment."
        facts = retry_after.facts_in(earlier.headers)
        body = DIALECTS[context.target.dialect].refusal(earlier.status, code, words, context.id, facts)
    attempt.pass_on_instead(earlier.status, body)
    return Incoming(earlier.status, (*kept, (b"content-type", b"application/json")), len(body))


def _request_id(attempt: UpstreamAttempt, headers: Headers) -> str | None:
    """The provider's own, as of an answer that is passed on."""
    return read_response_headers(headers, attempt.admission.secrets).request_id

"""Sending one request with another credential, where a provider has certainly billed nothing.

That is so when no connection came about, and when it answered 401, 429 or 503. Whatever else happened after a byte was
sent may have been billed, and is not repeated. At most two more credentials are tried, within the hold and the deadline
of the first; the money stays held by the one attempt that goes on, and what a provider has seen and not billed is a row
of no cost beside it, written before the next one is sent.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from math import isfinite

import gevent

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import Settlement, Try
from proxyd.credentials import Credential, CredentialHealth
from proxyd.gateway.attempt import UpstreamAttempt
from proxyd.gateway.context import attempt_of
from proxyd.gateway.headers import read_response_headers
from proxyd.gateway.masking import MAX_ERROR_BYTES, Unreadable, masked_error, plain_error
from proxyd.messages import Header, Headers, Incoming, Outgoing, UpstreamError, UpstreamTimeout
from proxyd.upstream.pool import UpstreamPool
from shared.provider_words import sentence_in

log = logging.getLogger(__name__)

REFUSED, FORBIDDEN = 401, 403
UNBILLED = {REFUSED: "refused", 429: "rate_limited", 503: "unavailable"}
MOST_TRIES = 3
WORDS_SECONDS = 2.0  # for the rest of a refusal that is not passed on
LEAST_SECONDS = 0.001
FLAG = "retried"


@dataclass(frozen=True, slots=True)
class Failover:
    """Tries the credentials of one request after another, for one worker."""

    accounting: Accounting
    pool: UpstreamPool
    health: CredentialHealth
    monotonic: Callable[[], float] = time.monotonic

    def send(self, attempt: UpstreamAttempt, outgoing: Outgoing) -> Incoming:
        """As `UpstreamAttempt.send`, with the credentials of its admission. The last answer is passed on as it came."""
        # What is sent once more has to be there until it is known that it is not.
        on_sent, outgoing.on_sent = outgoing.on_sent, None
        deadline = self.monotonic() + self.pool.limits.first_byte_seconds
        try:
            while True:
                try:
                    incoming = attempt.start()
                except UpstreamError as error:
                    following = None if error.sent else self._following(attempt, outgoing, deadline)
                    if following is None:
                        raise
                    why = "timeout" if isinstance(error, UpstreamTimeout) else "unreachable"
                else:
                    why = UNBILLED.get(incoming.status, "")
                    self._heed(attempt.admission.credential, incoming)
                    attempt.provider_request_id = _request_id(incoming.headers)
                    following = self._following(attempt, outgoing, deadline) if why else None
                    if following is None or not self._is_written(attempt, why):
                        return incoming
                    self._drop(attempt, incoming)
                attempt.tried(why)
                outgoing = self._go_on(attempt, outgoing, following, deadline)
        except Exception as error:
            attempt.broke_off(error)
            raise
        finally:
            outgoing.on_sent = on_sent
            if not attempt.call.sending:
                outgoing.drop_body()

    def heed(self, credential: Credential, status: int, body: object) -> None:
        """Learn from an answer that is passed on, where there is anything to learn."""
        if status == REFUSED:
            self.health.refused(credential, status, sentence_in(body, credential.secret))
        elif status < 500 and status != FORBIDDEN and status not in UNBILLED and self.health.resting:
            self.health.works(credential)

    def _heed(self, credential: Credential, incoming: Incoming) -> None:
        """What is learned before anything is decided: concurrent requests choose by it at once."""
        if incoming.status in UNBILLED and incoming.status != REFUSED:
            self.health.told_to_wait(credential, _retry_after(incoming.headers))

    def _following(self, attempt: UpstreamAttempt, outgoing: Outgoing, deadline: float) -> Credential | None:
        """The credential to go on with; None: this was the last try."""
        admission = attempt.admission
        # A body that was streamed is gone, and who has left waits for nothing.
        if not isinstance(outgoing.body, bytes) or attempt.context.request.client.gone:
            return None
        if admission.several is None or len(admission.tried) + 1 >= MOST_TRIES or self.monotonic() >= deadline:
            return None
        return admission.several.following([*admission.tried_credentials, admission.credential])

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

    def _drop(self, attempt: UpstreamAttempt, incoming: Incoming) -> None:
        """Read what is not passed on: for the sentence in it, and so that its connection can be used again."""
        credential = attempt.admission.credential
        words = ""
        if incoming.status == REFUSED or attempt.call.has_arrived():
            coding = [value for name, value in incoming.headers if name == b"content-encoding"]
            words = self._said(attempt, coding, credential)
        if incoming.status == REFUSED:
            self.health.refused(credential, REFUSED, words)

    @staticmethod
    def _said(attempt: UpstreamAttempt, coding: list[bytes], credential: Credential) -> str:
        body = b""
        end = gevent.spawn_later(WORDS_SECONDS, attempt.call.abort)
        try:
            for data in attempt.call.chunks():
                body += data
                if len(body) > MAX_ERROR_BYTES:
                    break
            return sentence_in(masked_error(plain_error(coding, body), credential.secrets), credential.secret)
        except (UpstreamError, Unreadable):
            return ""
        finally:
            end.kill(block=False)

    def _go_on(self, attempt: UpstreamAttempt, outgoing: Outgoing, credential: Credential, deadline: float) -> Outgoing:
        name, prefix = attempt.context.target.credential_header
        header: Header = (name, prefix + credential.secret.encode())
        again = replace(outgoing, headers=[header])
        call = self.pool.call(again)
        call.first_byte_seconds = max(LEAST_SECONDS, deadline - self.monotonic())
        attempt.go_on(call, credential)
        return again


def _request_id(headers: Headers) -> str | None:
    """The provider's own, as of an answer that is passed on."""
    return read_response_headers(headers, ()).request_id


def _retry_after(headers: Headers) -> float | None:
    """Seconds that an answer asks to wait (RFC 9110, section 10.2.3; OpenAI's is finer); None: it does not say."""
    told = dict(headers)
    try:
        if (milliseconds := told.get(b"retry-after-ms")) is not None:
            seconds = float(milliseconds) / 1000
        elif not (value := told.get(b"retry-after", b"").decode("ascii").strip()):
            return None
        else:
            seconds = float(value) if value[0].isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError):
        return None
    return seconds if isfinite(seconds) else None

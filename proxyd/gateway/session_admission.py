"""May this WebSocket be opened? Its handshake is judged like a request, by the same rules in the same order.

It costs nothing at the provider, so nothing is taken for it: each of its turns is admitted when its time comes, by the
same `AdmissionController` as any request. What the ledger has of the session itself is a row of no cost.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.limited_models import RowsOfTold
from proxyd.accounting.records import Attempt, LedgerUnavailable
from proxyd.gateway.admission import AdmissionController
from proxyd.gateway.bounds import model_limits_for
from proxyd.gateway.context import Admission, RequestContext, attempt_of, credential_for
from proxyd.gateway.rejection import Rejection, rejected
from proxyd.known_key import KnownKey
from shared.counters import Admitted, Counters
from shared.judgement import not_configured
from shared.model_limits import rows_of
from shared.policy import Deny, PolicyQuery, Reason, evaluate

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SessionAdmission:
    """Admits the sessions of one worker."""

    admission: AdmissionController
    accounting: Accounting
    counters: Counters
    rows: RowsOfTold
    may_be_limited: Callable[[], bool]  # whether any key may have limits for models that the present counters know
    now: Callable[[], float] = time.time

    def begin(
        self,
        known: KnownKey,
        context: RequestContext,
        bound: Callable[[KnownKey], tuple[int | None, str | None]],
        unbounded: str | None = None,
    ) -> Admission | Rejection:
        """Judge a handshake as a request, and begin its row. Without a model every model is allowed.

        `bound` tells what it may cost by the present prices, or why that is unknown.
        """
        current = self.admission.revalidate(known, context)
        if isinstance(current, Rejection):
            return current
        bound_nanos, unpriced = bound(current)
        provider = context.target.provider
        credentials = current.credentials.get(provider.slug)
        refused = self.judge(current, context, bound_nanos, unpriced, unbounded)
        if credentials is None:
            return refused or Rejection(not_configured(provider.slug, provider.label))
        refused = refused or self.admission.refuse_early(current, context, context.target)
        if refused is not None:
            return refused
        admitted = Admitted(self.counters.moment().in_zone(current.key.zone).day, -1)
        chosen, several = credentials.only, None
        if chosen is None:
            chosen, several = credential_for(context, credentials), credentials
        admission = Admission(current, chosen, admitted, 0, None, self.now(), chosen.secrets, several)
        key = current.key if context.key is None else context.key
        attempt, rows = _attempt(context, admission), rows_of(model_limits_for(key, context))
        return _begun(context, attempt, rows, self.admission.begin_unheld) or admission

    def judge(
        self,
        known: KnownKey,
        context: RequestContext,
        bound_nanos: int | None,
        unpriced: str | None,
        unbounded: str | None,
    ) -> Rejection | None:
        """The rules alone, of something without a size: it is told what of its cost, and its tokens, has no bound."""
        key, slug, model = known.key, context.target.provider.slug, context.model
        judged = key if model is not None else replace(key, allowed_models=())
        query = PolicyQuery(context.client_ip, slug, model, True, False, bound_nanos, unpriced, unbounded)
        verdict = evaluate(judged, query, self.now())
        return Rejection(verdict) if isinstance(verdict, Deny) else None

    def begin_told(self, context: RequestContext, admission: Admission) -> Rejection | None:
        """Begin the row of what the provider tells that it did: nobody was asked to admit it.

        It counts on the limits for models that its key has now, which the session need not know yet. Where the database
        does not tell them, on those that it had when it was looked up last: it is never left out of the ledger.
        """
        attempt = _attempt(context, admission)
        key = admission.known.key if context.key is None else context.key
        rows = rows_of(model_limits_for(key, context))
        if key.model_limits or self.may_be_limited():
            try:
                rows = self.rows.of([attempt]).get(attempt.id, ())
            except LedgerUnavailable as error:
                log.warning("the limits for models of a key cannot be read, and are taken as they were: %s", error)
        return _begun(context, attempt, rows, self.accounting.begin_unheld)


def _attempt(context: RequestContext, admission: Admission) -> Attempt:
    return attempt_of(context, admission.known.key, 0, 0, admission.admitted_at, admission.charged)


def _begun(
    context: RequestContext,
    attempt: Attempt,
    rows: tuple[str, ...],
    begin: Callable[[int, Attempt, tuple[str, ...]], None],
) -> Rejection | None:
    """Begin a row for which nothing is held. Refused when it cannot be written down."""
    try:
        begin(context.seq, attempt, rows)
    except JournalUnavailable as error:
        log.error("a session cannot be recorded, so it is refused: %s", error)
        return rejected(Reason.LIMITS_UNAVAILABLE)
    return None

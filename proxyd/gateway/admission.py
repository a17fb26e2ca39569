"""May this request go out? Policy on the present snapshot, then charges and BEGIN, all or none, in one batch.

The counters know the version of each key's policy and compare it in the same transaction that charges. So a snapshot
that an edit has overtaken is never admitted, and a refusal is given only after a look that it is still right.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from msgspec.structs import replace

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import JournalUnavailable
from proxyd.accounting.records import Attempt, LedgerUnavailable
from proxyd.gateway import custom
from proxyd.gateway.authenticate import unknown_key
from proxyd.gateway.bounds import Needs, SecondLook, can_be_free, limit_is_ours
from proxyd.gateway.context import Admission, RequestContext, attempt_of, credential_for
from proxyd.gateway.destinations import Target
from proxyd.gateway.limits import Limits
from proxyd.gateway.rejection import RATES, SPEND, Rejection, does_not_fit, refused
from proxyd.key_cache import KeyCache, KeysUnavailable
from proxyd.known_key import KnownKey
from shared.counters import (
    Admitted,
    Charge,
    Counters,
    CountersUnavailable,
    Missing,
    ModelRefused,
    OrganizationRefused,
    Refusal,
    Stale,
)
from shared.custom_refusals import told_first
from shared.judgement import LEAST_BOUND, judge, not_configured
from shared.organization_limits import is_capped, is_limited
from shared.policy import Allow, Deny, KeySnapshot, Reason, check_key
from shared.routing import Unified

log = logging.getLogger(__name__)

MAX_LOADS = 8  # each means that an edit overtook us once more; nobody edits this often


@dataclass(frozen=True, slots=True)
class _StaleSnapshot:
    """The snapshot is too old; `unknown`: nobody knows whether it is."""

    unknown: bool = False


class AdmissionController:
    """Admits or refuses, for one worker."""

    def __init__(
        self,
        keys: KeyCache,
        counters: Counters,
        accounting: Accounting,
        limits: Limits,
        second_look: SecondLook | None = None,
        *,
        now: Callable[[], float] = time.time,
        on_unheld: Callable[[], None] | None = None,
    ) -> None:
        """`on_unheld` hears of each that was admitted without a batch of the counters."""
        self._second_look = second_look
        self._keys = keys
        self._counters = counters
        self._accounting = accounting
        self._limits = limits
        self._now = now
        self._on_unheld = on_unheld
        self.rate_limits_skipped = 0  # requests let through because the counters did not answer

    def check_key(self, context: RequestContext) -> KnownKey | Rejection:
        """The checks that need only the request's head: the key exists, is not revoked or expired, the address fits."""
        digest, client_ip = context.digest, context.client_ip
        try:
            known, stale = self._keys.find(digest), None
            for _ in range(MAX_LOADS):
                if known is None:
                    return Rejection(unknown_key())
                context.key = known.key
                deny = check_key(known.key, client_ip, self._now())
                if deny is None:
                    return known
                stale = self._stale(known, stale)
                if stale is None:
                    return Rejection(deny)
                known = self._load_anew(digest, stale)
        except KeysUnavailable:
            pass
        return Rejection(Deny(Reason.KEYS_UNAVAILABLE))

    def revalidate(self, known: KnownKey, context: RequestContext) -> KnownKey | Rejection:
        """The key as it stands now, for what is not admitted and so not compared with the counters."""
        try:
            stale = None
            for _ in range(MAX_LOADS):
                stale = self._stale(known, stale)
                if stale is None:
                    return known
                self._load_anew(context.digest, stale)
                found = self.check_key(context)
                if isinstance(found, Rejection):
                    return found
                known = found
        except KeysUnavailable:
            pass
        return Rejection(Deny(Reason.KEYS_UNAVAILABLE))

    def refuse_early(
        self, known: KnownKey, context: RequestContext, route: Target | Unified | None
    ) -> Rejection | None:
        """The refusal of whatever this request turns out to ask for; None: nobody can say that yet. Takes nothing.

        `route`: where it leads, as far as that is known by now; None: it is not refused for its cost.
        """
        current = self.revalidate(known, context)
        if isinstance(current, Rejection):
            return current
        exhausted = self._limits.exhausted(current.key) if is_limited(current.key) else None
        if exhausted is None:
            return None
        found = refused(current.key, exhausted, lambda _: LEAST_BOUND)
        if found.deny.reason in RATES:
            return found
        return None if route is None or can_be_free(current, context, route, self._now()) else found

    def admit(self, known: KnownKey | None, context: RequestContext) -> Admission | Rejection:
        """All checks of the contract, in its order; an `Admission` is charged. Refused requests consume nothing."""
        try:
            stale = None
            for _ in range(MAX_LOADS):
                if known is None:
                    return Rejection(unknown_key())
                result = self._judge(known, context, stale)
                if isinstance(result, Admission):  # as nearly all are
                    return result
                if does_not_fit(result, SPEND) and limit_is_ours(context.parsed):
                    # Our own output limit was made from what was last told; now it is known what is left in truth.
                    result = self._judge(known, context, stale)
                if does_not_fit(result) and self._looked_again(known, context, result.deny):
                    result = self._judge(known, context, stale)
                if not isinstance(result, _StaleSnapshot):
                    return result
                stale, known = result, self._load_anew(context.digest, result)
                if context.reroute is not None and known is not None and known.custom:
                    elsewhere = context.reroute(known)
                    if elsewhere is not None:
                        return elsewhere
        except KeysUnavailable:
            return Rejection(Deny(Reason.KEYS_UNAVAILABLE))
        return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))

    def _load_anew(self, digest: str, stale: _StaleSnapshot) -> KnownKey | None:
        """What is known for sure to be overtaken is no answer while the database gives none: it would be again."""
        return self._keys.reload(digest) if stale.unknown else self._keys.reload_strictly(digest)

    def _looked_again(self, known: KnownKey, context: RequestContext, deny: Deny) -> bool:
        """Whether the provider has counted the input of a request whose bound does not fit, so that it may yet."""
        look = self._second_look
        return look is not None and look.may_help(known, context, deny, self._limits, self._now())

    def _judge(
        self, known: KnownKey, context: RequestContext, previous: _StaleSnapshot | None
    ) -> Admission | Rejection | _StaleSnapshot:
        """Judge by this snapshot, loaded because of `previous`."""
        now = self._now()
        if known.key.boost is not None:
            known = known.as_of(now)  # it may have ended while the body was on its way
        key = context.key = known.key
        provider, model, parsed, free = context.target.provider, context.model, context.parsed, context.free
        size, left = None if parsed is None else parsed.size, self._limits.remaining_nanos
        verdict, bound_nanos, limit = judge(
            key, context.client_ip, provider.slug, model, size, left, known.prices, now, free=free
        )
        credentials = known.credentials.get(provider.slug)
        unsent = None if context.target.custom is None else custom.refusal(known, context)
        if isinstance(verdict, Deny) or unsent is not None or credentials is None:
            deny = told_first(verdict, unsent) or not_configured(provider.slug, provider.label)
            return self._stale(known, previous) or Rejection(deny)
        charged = self._charge(known, context, verdict, bound_nanos, limit, now)
        if not isinstance(charged, Admitted):
            return charged
        if free and (key.spend_limit_nanos is not None or key.rate_limit_tpm is not None):
            _, spend, tokens = self._limits.of(key) or (None, None, None)
            charged = replace(charged, spend=spend, tokens=tokens)
        chosen, several = credentials.only, None
        if chosen is None:
            chosen, several = credential_for(context, credentials), credentials
        return Admission(known, chosen, charged, bound_nanos, limit, now, chosen.secrets, several)

    def _charge(
        self,
        known: KnownKey,
        context: RequestContext,
        allow: Allow,
        bound_nanos: int | None,
        limit: int | None,
        now: float,
    ) -> Admitted | Rejection | _StaleSnapshot:
        """Take the rate, hold the money, compare the version and write BEGIN."""
        key, charges = known.key, allow.charges
        charge = Charge(
            key.id,
            key.org_id,
            key.version,
            known.org_version,
            charges.rate_limit_rpm,
            charges.spend_limit_nanos,
            key.spend_reset,
            charges.bound_nanos,
            known.generation,
            context.seq,
            None if charges.spend_limit_nanos is None else self._keys.take_seed(known),
            key.max_concurrent_requests,
            charges.organization,
            charges.rate_limit_tpm,
            charges.bound_tokens,
            charges.model_limits,
            key.zone,
        )
        begun = partial(attempt_of, context, key, bound_nanos, charges.bound_nanos, now)
        if charges.bound_tokens:
            begun = partial(begun, held_tokens=charges.bound_tokens)
        try:
            answer = self._accounting.admit(context.seq, charge, begun, known.holds_until)
        except CountersUnavailable:
            if is_capped(charge) or charge.model_limits:
                return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
            return self._without_counters(known, context, bound_nanos, now, limited=is_limited(charge))
        except (JournalUnavailable, LedgerUnavailable) as error:
            log.error("nothing can be recorded, refusing traffic: %s: %s", type(error).__name__, error)
            return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
        if isinstance(answer, Admitted):
            self._limits.remember(key.id, answer.spend)
            if answer.organization_spend is not None:
                self._limits.remember(key.org_id, answer.organization_spend)
            return answer
        if isinstance(answer, Missing | Stale):
            return _StaleSnapshot()
        if isinstance(answer, Refusal):
            needs = Needs(self._limits, known, context, limit, now, _row_of(answer, key))
            return refused(key, answer, needs.money, needs.tokens)
        return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))

    def _without_counters(
        self, known: KnownKey, context: RequestContext, bound_nanos: int | None, now: float, *, limited: bool
    ) -> Admitted | Rejection | _StaleSnapshot:
        """The counters do not answer. Money fails closed; the rate alone fails open and is counted.

        The version cannot be compared either, so only a snapshot that is as the database has it now may pass.
        """
        fresh = self._keys.reload_strictly(context.digest)
        if fresh is None or not fresh.same_as(known):
            return _StaleSnapshot()
        admitted = Admitted(self._counters.moment().in_zone(known.key.zone).day, -1)
        try:
            self.begin_unheld(context.seq, attempt_of(context, known.key, bound_nanos, 0, now, admitted))
        except JournalUnavailable as error:
            log.error("nothing can be recorded, refusing traffic: %s", error)
            return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
        if limited:
            self.rate_limits_skipped += 1
        return admitted

    def begin_unheld(self, seq: int, attempt: Attempt, rows: tuple[str, ...] = ()) -> None:
        """Begin what is admitted and holds nothing; `rows` as of an END. Raises JournalUnavailable."""
        self._accounting.begin_unheld(seq, attempt, rows)
        if self._on_unheld is not None:
            self._on_unheld()

    def _stale(self, known: KnownKey, previous: _StaleSnapshot | None) -> _StaleSnapshot | None:
        """Whether a snapshot has to be loaded anew before it may refuse; None: it is as new as anybody knows.

        Where the counters know nothing of the key, or do not answer, one that was loaded since is.
        """
        try:
            row = self._counters.rows([known.key.id]).get(known.key.id)
            org_version = self._counters.org_version(known.key.org_id)
        except CountersUnavailable:
            return None if previous is not None and previous.unknown else _StaleSnapshot(unknown=True)
        if known.key.version < (row.version if row else 0) or known.org_version < org_version:
            return _StaleSnapshot()
        if row is None or not row.version or not org_version:
            return None if previous is not None and previous.unknown else _StaleSnapshot(unknown=True)
        return None


def _row_of(refusal: Refusal, key: KeySnapshot) -> str:
    """Of whose money, if it is money that does not suffice."""
    if isinstance(refusal, ModelRefused):
        return refusal.limit.row_id
    return key.org_id if isinstance(refusal, OrganizationRefused) else key.id

"""May this request go out? Policy on the newest snapshot, then charges and BEGIN, all or none, in one step.

The counters hold the organisation's policy epoch and compare it in the same transaction that charges. So a snapshot
that an edit has overtaken is never admitted, and a refusal is given only after a look that it is still right.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.accounting import Accounting
from proxyd.accounting.journal import Attempt, JournalUnavailable
from proxyd.gateway.authenticate import unknown_key
from proxyd.gateway.rejection import Rejection, rate_limited, spend_refused
from proxyd.gateway.route import Target
from proxyd.key_cache import KeyCache, KeysUnavailable, KnownKey
from proxyd.providers import Parsed
from shared import periods, pricing
from shared.counters import (
    Admitted,
    Charge,
    Counters,
    CountersUnavailable,
    RateLimited,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    Unseeded,
)
from shared.policy import Address, Allow, Deny, KeySnapshot, PolicyQuery, Reason, check_key, evaluate

log = logging.getLogger(__name__)

# Each turn means that an edit overtook us once more; nobody edits this often.
MAX_TURNS = 8


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked, fixed before anything is judged."""

    digest: str
    seq: int  # the attempt's number in the journal
    attempt_id: str
    client_ip: Address | None
    target: Target
    model: str | None  # bare, from the body or the path; None: neither names one that we can read
    parsed: Parsed | None  # None: the body is not read, it is passed on as it comes
    free: bool  # costs nothing at the provider


@dataclass(frozen=True, slots=True)
class Admission:
    """Yes: charged and begun, and what the request must be sent with."""

    known: KnownKey
    credential: str = field(repr=False)
    charged: Admitted
    bound_nanos: int | None  # None: the model has no known price
    output_limit: int | None  # set by us, because the client set none and the model's maximum is too dear
    admitted_at: float  # Unix seconds, by which prices and the period are chosen


class AdmissionController:
    """Admits or refuses, for one worker."""

    def __init__(
        self,
        keys: KeyCache,
        counters: Counters,
        books: Accounting,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.keys = keys
        self.counters = counters
        self._books = books
        self._now = now
        self.rate_limits_skipped = 0  # requests let through because the counters did not answer

    def check_key(self, digest: str, client_ip: Address | None) -> KnownKey | Rejection:
        """The checks that need only the request's head: the key exists, is not revoked or expired, the address fits."""
        try:
            known = self.keys.find(digest)
            for _ in range(MAX_TURNS):
                if known is None:
                    return Rejection(unknown_key())
                deny = check_key(known.key, client_ip, self._now())
                if deny is None:
                    return known
                if self._is_current(known):
                    return Rejection(deny)
                known = self.keys.reload(digest)
        except KeysUnavailable:
            pass
        return Rejection(Deny(Reason.KEYS_UNAVAILABLE))

    def admit(self, known: KnownKey | None, wish: Wish) -> Admission | Rejection:
        """All checks of the contract, in its order; an `Admission` is charged. Rejection requests consume nothing."""
        try:
            for _ in range(MAX_TURNS):
                if known is None:
                    return Rejection(unknown_key())
                result = self._judge(known, wish)
                if result is not None:
                    return result
                known = self.keys.reload(wish.digest)
        except KeysUnavailable:
            return Rejection(Deny(Reason.KEYS_UNAVAILABLE))
        return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))

    def _judge(self, known: KnownKey, wish: Wish) -> Admission | Rejection | None:
        """One turn: judged by this snapshot. None means that the snapshot is too old."""
        key, now = known.key, self._now()
        provider = wish.target.provider
        limit = None
        bound_nanos = None
        if wish.parsed is not None and wish.model is not None and not wish.free:
            limit = self._output_limit(key, wish.parsed, wish.model, provider.slug, now)
            bound_nanos = pricing.bound(provider.slug, wish.model, wish.parsed.size, at=now, output_limit=limit)
        ask = PolicyQuery(
            client_ip=wish.client_ip,
            provider=provider.slug,
            model=wish.model,
            metered=wish.parsed is not None,
            free=wish.free,
            bound_nanos=bound_nanos,
            unpriced=None if wish.parsed is None else wish.parsed.size.unpriced,
        )
        verdict = evaluate(key, ask, now)
        if isinstance(verdict, Deny):
            return Rejection(verdict) if self._is_current(known) else None
        credential = known.credentials.get(provider.slug)
        if credential is None:
            deny = Deny(Reason.PROVIDER_NOT_CONFIGURED, {"provider": provider.label})
            return Rejection(deny) if self._is_current(known) else None
        charged = self._charge(known, wish, verdict, bound_nanos, now)
        if isinstance(charged, Admitted):
            if wish.free and key.spend_limit_nanos is not None:
                charged = replace(charged, spend=self._spend_of(key))
            return Admission(known, credential, charged, bound_nanos, limit, now)
        return charged

    def _spend_of(self, key: KeySnapshot) -> SpendState | None:
        """What a key has spent, for the headers of a request that costs nothing; None when nobody knows."""
        try:
            return self.counters.spend(key.id, key.spend_reset, key.spend_limit_nanos)
        except CountersUnavailable:
            return None

    def _charge(
        self, known: KnownKey, wish: Wish, allow: Allow, bound_nanos: int | None, now: float
    ) -> Admitted | Rejection | None:
        """Take the rate, hold the money, compare the epoch and write BEGIN. None: the snapshot is too old."""
        key, charges = known.key, allow.charges
        charge = Charge(
            reservation_id=wish.attempt_id,
            worker_id=self._books.journal.worker_id,
            org_id=key.org_id,
            key_id=key.id,
            expected_epoch=known.epoch,
            rate_limit_rpm=charges.rate_limit_rpm,
            spend_limit_nanos=charges.spend_limit_nanos,
            spend_reset=key.spend_reset,
            bound_nanos=charges.bound_nanos,
        )

        def attempt_of(admitted: Admitted) -> Attempt:
            return _attempt(wish, key, admitted, bound_nanos, now)

        try:
            try:
                result = self._books.open(wish.seq, charge, attempt_of)
                if isinstance(result, Unseeded):
                    self._books.seed()
                    result = self._books.open(wish.seq, charge, attempt_of)
            except CountersUnavailable:
                if charges.spend_limit_nanos is not None:
                    return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
                return self._without_counters(known, wish, attempt_of)
        except (JournalUnavailable, SQLAlchemyError) as error:
            log.error("nothing can be recorded, refusing traffic: %s", type(error).__name__)
            return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))
        if isinstance(result, Admitted):
            return result
        if isinstance(result, Stale):
            return None
        if isinstance(result, RateLimited):
            return rate_limited(key, result)
        if isinstance(result, SpendExceeded | SpendHeld):
            return spend_refused(key, result, charges.bound_nanos)
        return Rejection(Deny(Reason.LIMITS_UNAVAILABLE))

    def _without_counters(
        self, known: KnownKey, wish: Wish, attempt_of: Callable[[Admitted], Attempt]
    ) -> Admitted | None:
        """The counters do not answer. Money fails closed; the rate alone fails open and is counted.

        The epoch cannot be compared either, so only a snapshot that is as the database has it now may pass.
        """
        fresh = self.keys.reload(wish.digest)
        if fresh is None or fresh.key != known.key:
            return None
        self.rate_limits_skipped += 1
        admitted = Admitted(day=periods.day_of(self._now()), rate=None, spend=None)
        self._books.begin(wish.seq, attempt_of(admitted))
        return admitted

    def _output_limit(self, key: KeySnapshot, parsed: Parsed, model: str, provider: str, now: float) -> int | None:
        """The output limit we must set for a capped key whose client set none; None when none is needed."""
        size = parsed.size
        if key.spend_limit_nanos is None or size.output_limit is not None or size.output_free:
            return None
        spend = self._spend_of(key)
        if spend is None:
            return None
        remaining_nanos = spend.remaining_nanos or 0
        return pricing.fitting_output_limit(provider, model, size, at=now, remaining_nanos=remaining_nanos)

    def _is_current(self, known: KnownKey) -> bool:
        """Whether no edit has overtaken this snapshot. Unknown counts as yes: the snapshot is seconds old at most."""
        try:
            return self.counters.epoch(known.key.org_id) == known.epoch
        except CountersUnavailable:
            return True


def _attempt(wish: Wish, key: KeySnapshot, admitted: Admitted, bound_nanos: int | None, now: float) -> Attempt:
    endpoint = wish.target.endpoint
    return Attempt(
        id=wish.attempt_id,
        org_id=key.org_id,
        key_id=key.id,
        provider=wish.target.provider.slug,
        endpoint="unlisted" if endpoint is None else endpoint.path,
        requested_model=wish.model,
        streamed=wish.parsed is not None and wish.parsed.stream,
        bound_nanos=0 if wish.free else bound_nanos or 0,
        day=admitted.day.isoformat(),
        admitted_at=now,
        client_ip=None if wish.client_ip is None else str(wish.client_ip),
    )

"""The credentials of one provider that an organisation has: which goes first, which is next, and which rest.

What a provider has refused, or told to wait, is noted in the worker that heard it, so that a choice costs no question
to anybody. A refusal is told to the database as well, for the dashboard and for workers that load the credential later.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from sqlalchemy import Connection, Engine, and_, bindparam, delete, insert, select

from shared.models import CredentialRefusal, ProviderCredential
from shared.sealing import Sealer, UnsealError

log = logging.getLogger(__name__)

REFUSED_SECONDS = 300.0  # after a 401, until one request tries the credential again
USUAL_REST_SECONDS = 5.0  # after a 429 or a 503 that does not say when to come back
PROBE_SECONDS = 10.0  # for an answer to the one request that tries it
LONGEST_REST_SECONDS = 3600.0
MOST_RESTING = 10_000

# With what another worker has heard of each; that of a secret which was replaced since does not count.
_CREDENTIALS = (
    select(*ProviderCredential.__table__.columns, CredentialRefusal.at.label("refused_at"))
    .outerjoin(
        CredentialRefusal,
        and_(
            CredentialRefusal.credential_id == ProviderCredential.id,
            CredentialRefusal.set_at == ProviderCredential.created_at,
        ),
    )
    .where(ProviderCredential.org_id == bindparam("org_id"), ProviderCredential.enabled)
)


@dataclass(frozen=True, slots=True)
class Credential:
    """A provider's own key. Two of the same secret are the same, whatever else was edited."""

    id: str
    secret: str = field(repr=False)
    set_at: datetime  # when the secret was stored
    label: str = field(default="", compare=False)
    last4: str = field(default="", compare=False)
    weight: int = field(default=1, compare=False)
    priority: int = field(default=1, compare=False)  # the lowest goes first
    secrets: tuple[bytes, ...] = field(init=False, repr=False, compare=False)  # as what masks an answer takes it

    def __post_init__(self) -> None:
        object.__setattr__(self, "secrets", (self.secret.encode(),))


class Told(NamedTuple):
    """What a provider said to a credential that it refused."""

    at: datetime
    status: int
    words: str  # the provider's own; empty when it gave none


Report = Callable[[Credential, Told | None], object]  # None: it is taken again


class _Rest(NamedTuple):
    until: float  # Unix seconds
    refused: bool
    probed: bool = False  # a request is under way that tries it


class CredentialHealth:
    """What one worker knows of credentials that are not taken at the moment.

    `report` hears of each refusal, and of its end.
    """

    def __init__(self, report: Report | None = None, now: Callable[[], float] = time.time) -> None:
        self.resting: dict[Credential, _Rest] = {}  # empty as long as all is well
        self.report = report
        self._now = now

    def refused(self, credential: Credential, status: int, words: str) -> None:
        """A provider does not know this credential, or not any more."""
        known, at = self.resting.get(credential), self._now()
        if known is not None and known.refused and known.until > at + PROBE_SECONDS:
            return  # it is known, and a flood of them is told once
        self._rest(credential, at + REFUSED_SECONDS, refused=True)
        if self.report is not None:
            self.report(credential, Told(datetime.fromtimestamp(at, UTC), status, words))

    def told_to_wait(self, credential: Credential, seconds: float | None) -> None:
        """A provider takes no more requests with it for now; None: it does not say for how long."""
        known = self.resting.get(credential)
        seconds = USUAL_REST_SECONDS if seconds is None else min(max(seconds, 0.0), LONGEST_REST_SECONDS)
        self._rest(credential, self._now() + seconds, refused=known is not None and known.refused)

    def was_refused(self, credential: Credential, at: datetime) -> None:
        """As another worker has heard, at that moment."""
        if credential not in self.resting:
            self._rest(credential, at.timestamp() + REFUSED_SECONDS, refused=True)

    def works(self, credential: Credential) -> None:
        """A provider has answered to it. To be called when anything rests at all.

        Answers to what was sent before it was told to wait do not end its rest.
        """
        known = self.resting.get(credential)
        if known is None or not (known.refused or known.probed or known.until <= self._now()):
            return
        del self.resting[credential]
        if known.refused and self.report is not None:
            self.report(credential, None)

    def until(self, credential: Credential) -> float:
        """When it may be tried again, in Unix seconds; 0 when it may be now."""
        known = self.resting.get(credential)
        return 0.0 if known is None or known.until <= self._now() else known.until

    def probe(self, credential: Credential) -> None:
        """One request tries a credential again that has rested; all others wait for what becomes of it, for a while."""
        known = self.resting.get(credential)
        if known is not None:
            until = max(known.until, self._now() + PROBE_SECONDS)
            self._rest(credential, until, refused=known.refused, probed=True)

    def _rest(self, credential: Credential, until: float, *, refused: bool, probed: bool = False) -> None:
        self.resting.pop(credential, None)
        if len(self.resting) >= MOST_RESTING:  # replaced ones are never asked about again
            del self.resting[next(iter(self.resting))]
        self.resting[credential] = _Rest(until, refused, probed)


class ProviderCredentials:
    """All enabled ones of a provider, shared by the keys of an organisation. There is at least one."""

    __slots__ = ("_health", "_ordered", "_shares", "only")

    def __init__(self, credentials: Sequence[Credential], health: CredentialHealth) -> None:
        self._ordered = sorted(credentials, key=lambda one: (one.priority, one.id))
        self._health = health
        self._shares = {one.id: 0 for one in self._ordered}  # what each is owed of its share
        self.only = self._ordered[0] if len(self._ordered) == 1 else None  # then there is nothing to choose

    def choose(self, *, in_order: bool) -> Credential:
        """The one to begin with: of the lowest priority that is taken, each as often as its weight says.

        `in_order` leaves the weights out, for what a provider keeps for one account. Where all rest, the one that may
        be tried first again: its provider's answer tells the client more than we could.
        """
        if self.only is not None:
            return self.only
        health = self._health
        if not health.resting:
            return self._ordered[0] if in_order else self._by_weight(self._ordered)
        able = [one for one in self._ordered if not health.until(one)]
        able = able or [min(self._ordered, key=health.until)]
        chosen = able[0] if in_order else self._by_weight(able)
        health.probe(chosen)
        return chosen

    def following(self, tried: Sequence[Credential]) -> Credential | None:
        """The next one, after these; None when none is left that is taken."""
        ids = {one.id for one in tried}
        able = [one for one in self._ordered if one.id not in ids and not self._health.until(one)]
        return able[0] if able else None

    def _by_weight(self, able: Sequence[Credential]) -> Credential:
        """Of those with the first one's priority, by a smooth weighted round robin.

        Each is owed its weight a turn, and whoever is owed most pays for all: shares are exact over any whole round,
        and no credential has its requests in a row.
        """
        shares, first, total = self._shares, able[0], 0
        chosen = first
        for one in able:
            if one.priority != first.priority:
                break
            total += one.weight
            shares[one.id] += one.weight
            if shares[one.id] > shares[chosen.id]:
                chosen = one
        shares[chosen.id] -= total
        return chosen


def read_credentials(
    connection: Connection, org_id: str, sealer: Sealer, health: CredentialHealth
) -> Mapping[str, ProviderCredentials]:
    """Those of an organisation that can be opened, by provider. Raises SQLAlchemyError."""
    found: dict[str, list[Credential]] = {}
    for row in connection.execute(_CREDENTIALS, {"org_id": org_id}):
        try:
            secret = sealer.unseal(row.sealed)
        except UnsealError as error:
            log.error("credential of %s: %s", row.provider, error)
            continue
        one = Credential(row.id, secret, row.created_at, row.label, row.last4, row.weight, row.priority)
        found.setdefault(row.provider, []).append(one)
        if row.refused_at is not None:
            health.was_refused(one, row.refused_at)
    return {provider: ProviderCredentials(credentials, health) for provider, credentials in found.items()}


class CredentialRefusals:
    """Which credentials their providers refuse, in the database. Blocking; raises SQLAlchemyError."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def write(self, credential: Credential, told: Told | None) -> None:
        """Tell what a provider said to a credential last. One that was deleted meanwhile is passed over."""
        table = CredentialRefusal.__table__
        with self._engine.begin() as connection:
            connection.execute(delete(CredentialRefusal).where(table.c.credential_id == credential.id))
            if told is None:
                return
            there = select(ProviderCredential.id).where(ProviderCredential.id == credential.id)
            if connection.execute(there).first() is not None:
                row = {"credential_id": credential.id, "set_at": credential.set_at, "at": told.at}
                connection.execute(insert(CredentialRefusal).values(**row, status=told.status, words=told.words))

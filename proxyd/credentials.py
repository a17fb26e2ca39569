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

from sqlalchemy import Connection, and_, bindparam, select

from shared.models import CredentialRefusal, ProviderCredential
from shared.sealing import Sealer, UnsealError

log = logging.getLogger(__name__)

REFUSED_SECONDS = 300.0  # after a 401, until one request tries the credential again
USUAL_REST_SECONDS = 5.0  # after a 429 or a 503 that does not say when to come back
PROBE_SECONDS = 10.0  # for an answer to the one request that tries it
LONGEST_REST_SECONDS = 3600.0
MOST_RESTING = 10_000
TOLD_SECONDS = 60.0  # between two refusals of a credential that are told, where it was taken in between
RETOLD_SECONDS = REFUSED_SECONDS - PROBE_SECONDS  # where it was not

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
        object.__setattr__(self, "secrets", (self.secret.encode(),) if self.secret else ())


class Told(NamedTuple):
    """What a provider said to a credential that it refused."""

    at: datetime
    status: int
    words: str  # the provider's own; empty when it gave none


Report = Callable[[Credential, Told | None], object]  # None: it is taken again
Place = tuple[Credential, str | None]  # what rests: a credential for one model, "" where none is named; None: for all


class _Rest(NamedTuple):
    until: float  # Unix seconds
    probed: bool = False  # a request is under way that tries it


class _Report(NamedTuple):
    at: float  # of the last refusal that was told, in Unix seconds
    refused: bool  # nobody was told since that it is taken again


class CredentialHealth:
    """What one worker knows of credentials that are not taken at the moment.

    A limit of requests or tokens is one of a model, so what has to wait rests for that model alone; what is refused
    rests for all. `report` hears of refusals and of their end: of each credential once a minute at most, whatever it
    is answered in turn.
    """

    def __init__(self, report: Report | None = None, now: Callable[[], float] = time.time) -> None:
        self.resting: dict[Place, _Rest] = {}  # empty as long as all is well; what began to rest last stands last
        self.report = report
        self._now = now
        self._reports: dict[Credential, _Report] = {}

    def refused(self, credential: Credential, status: int, words: str) -> None:
        """A provider does not know this credential, or not any more."""
        known, at = self.resting.get((credential, None)), self._now()
        if known is None or known.until <= at + PROBE_SECONDS:
            self._rest((credential, None), at + REFUSED_SECONDS)
        last = self._reports.get(credential)
        if last is not None and at - last.at < (RETOLD_SECONDS if last.refused else TOLD_SECONDS):
            return  # a flood of them is told once
        self._note(credential, _Report(at, refused=True))
        if self.report is not None:
            self.report(credential, Told(datetime.fromtimestamp(at, UTC), status, words))

    def told_to_wait(self, credential: Credential, model: str | None, seconds: float | None) -> None:
        """A provider takes no more requests with it for a model, for now; None: it does not say for how long."""
        place = (credential, model or "")
        known = self.resting.get(place)
        seconds = USUAL_REST_SECONDS if seconds is None else min(max(seconds, 0.0), LONGEST_REST_SECONDS)
        until = self._now() + seconds
        if known is not None and not known.probed:
            until = max(until, known.until)  # answers to what was sent at the same time name different moments
        self._rest(place, until)

    def was_refused(self, credential: Credential, at: datetime) -> None:
        """As another worker has heard, at that moment."""
        if (credential, None) not in self.resting:
            self._rest((credential, None), at.timestamp() + REFUSED_SECONDS)
            self._note(credential, _Report(at.timestamp(), refused=True))

    def works(self, credential: Credential, model: str | None) -> None:
        """A provider has answered to it. To be called when anything rests at all.

        Answers to what was sent before it was told to wait do not end its rest.
        """
        place = (credential, model or "")
        known = self.resting.get(place)
        if known is not None and (known.probed or known.until <= self._now()):
            del self.resting[place]
        if self.resting.pop((credential, None), None) is None:
            return
        last = self._reports.get(credential)
        if last is not None and last.refused:
            self._note(credential, last._replace(refused=False))
            if self.report is not None:
                self.report(credential, None)

    def until(self, credential: Credential, model: str | None) -> float:
        """When it may be tried again for a model, in Unix seconds; 0 when it may be now."""
        found, now = 0.0, self._now()
        for place in ((credential, None), (credential, model or "")):
            known = self.resting.get(place)
            if known is not None and known.until > max(found, now):
                found = known.until
        return found

    def probe(self, credential: Credential, model: str | None) -> None:
        """One request tries a credential again that has rested; all others wait for what becomes of it, for a while."""
        for place in ((credential, None), (credential, model or "")):
            known = self.resting.get(place)
            if known is not None:
                self._rest(place, max(known.until, self._now() + PROBE_SECONDS), probed=True)

    def _rest(self, place: Place, until: float, *, probed: bool = False) -> None:
        resting = self.resting
        resting.pop(place, None)
        # Credentials that were replaced, and models that nobody uses any more, are never asked about again.
        while resting:
            oldest = next(iter(resting))
            if len(resting) < MOST_RESTING and resting[oldest].until > self._now() - LONGEST_REST_SECONDS:
                break
            del resting[oldest]
        resting[place] = _Rest(until, probed)

    def _note(self, credential: Credential, told: _Report) -> None:
        self._reports.pop(credential, None)
        if len(self._reports) >= MOST_RESTING:
            del self._reports[next(iter(self._reports))]
        self._reports[credential] = told


class ProviderCredentials:
    """All enabled ones of a provider, shared by the keys of an organisation. There is at least one."""

    __slots__ = ("_health", "_ordered", "_shares", "only")

    def __init__(self, credentials: Sequence[Credential], health: CredentialHealth) -> None:
        self._ordered = sorted(credentials, key=lambda one: (one.priority, one.id))
        self._health = health
        self._shares = {one.id: 0 for one in self._ordered}  # what each is owed of its share
        self.only = self._ordered[0] if len(self._ordered) == 1 else None  # then there is nothing to choose

    def choose(self, *, in_order: bool, model: str | None = None) -> Credential:
        """The one to begin with: of the lowest priority that is taken, each as often as its weight says.

        `in_order` leaves the weights out, for what a provider keeps for one account. Where all rest, the one that may
        be tried first again: its provider's answer tells the client more than we could. It counts as sent: whoever
        sends nothing with it asks for `first`.
        """
        if self.only is not None:
            return self.only
        if not self._health.resting:
            return self._ordered[0] if in_order else self._by_weight(self._ordered)
        able = self._able(model)
        chosen = able[0] if in_order else self._by_weight(able)
        self._health.probe(chosen, model)
        return chosen

    def first(self, model: str | None) -> Credential:
        """The one that goes first, without any consequence."""
        return self._able(model)[0] if self._health.resting else self._ordered[0]

    def of_id(self, credential_id: str) -> Credential | None:
        """The one of this id; None: it was removed, or switched off."""
        return next((one for one in self._ordered if one.id == credential_id), None)

    def has(self, credential: Credential) -> bool:
        """Whether it is one of them, with the same secret."""
        return credential in self._ordered

    def following(self, tried: Sequence[Credential], model: str | None) -> Credential | None:
        """The next one, after these; None when none is left that is taken."""
        ids = {one.id for one in tried}
        able = [one for one in self._ordered if one.id not in ids and not self._health.until(one, model)]
        return able[0] if able else None

    def _able(self, model: str | None) -> Sequence[Credential]:
        """Those that are taken, in order; where none is, the one that is first again."""
        until = self._health.until
        able = [one for one in self._ordered if not until(one, model)]
        return able or [min(self._ordered, key=lambda one: until(one, model))]

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


def with_none_needed(
    found: Mapping[str, ProviderCredentials], names: Sequence[str], health: CredentialHealth
) -> Mapping[str, ProviderCredentials]:
    """The same, and for each provider of these names one without a secret: it is asked without any credential."""
    nothing = Credential("", "", datetime.fromtimestamp(0, UTC))
    return {**found, **{name: ProviderCredentials([nothing], health) for name in names}}

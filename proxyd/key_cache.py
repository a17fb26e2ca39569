"""Keys and credentials, looked up by the digest of a secret and kept for as long as their version is the present one.

Whoever admits a request tells the counters the version that it was judged by; they know the present one, and answer
`Stale` when an edit has overtaken it: then the key is loaded anew. So an entry needs no age; after some minutes it is
refreshed all the same, as a guard, while it is being used.

Of each key one load runs at a time, and few in all: a database that hangs takes no more threads than that. While it
does not answer, an entry is used for thirty seconds more; then the answer is `KeysUnavailable`.
"""

import logging
import time
from binascii import unhexlify
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import TypeVar

import gevent
from gevent.event import AsyncResult
from sqlalchemy import Engine, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from proxyd.credentials import CredentialHealth, read_credentials, with_none_needed
from proxyd.custom_providers import read_custom
from proxyd.known_key import NO_CUSTOM, KnownKey, OfOrganization
from proxyd.offload import Offload, OffloadTimeout
from shared import zones
from shared.models import KeySecret, Organization, PriceOverride, ProxyKey, limits_of, snapshot_of
from shared.pricing import book_of
from shared.sealing import Sealer
from shared.seeds import Seed, read_seeds

log = logging.getLogger(__name__)

K = TypeVar("K", bytes, str)
T = TypeVar("T")

GUARD_SECONDS = 300.0
STALE_SECONDS = 30.0
NEGATIVE_SECONDS = 1.0
MAX_ENTRIES = 100_000
MAX_SEEDS = 1_000  # each is taken by the first request that is admitted

# Not what stands there for people alone.
_JUDGED = [column for column in ProxyKey.__table__.columns if column.name not in ("tags", "owner_email", "note")]
# Made once, and asked for columns: a session, its objects and a statement made anew took most of a load's time.
_KEY = (
    select(
        KeySecret.valid_until,
        *_JUDGED,
        Organization.policy_version,
        Organization.rate_limit_rpm.label("org_rate_limit_rpm"),
        Organization.spend_limit_nanos.label("org_spend_limit_nanos"),
        Organization.spend_reset.label("org_spend_reset"),
        Organization.time_zone,
    )
    .join(ProxyKey, ProxyKey.id == KeySecret.key_id)
    .join(Organization, Organization.id == ProxyKey.org_id)
    .where(KeySecret.digest == bindparam("digest"))
)
_PRICES = select(PriceOverride.id, PriceOverride.provider, PriceOverride.model, PriceOverride.rates).where(
    PriceOverride.org_id == bindparam("org_id")
)


class KeysUnavailable(Exception):
    """The database does not answer and nothing recent enough is cached."""


class KeyCache:
    """Finds keys by digest. `offload` runs a blocking call in a thread."""

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        offload: Offload,
        *,
        health: CredentialHealth | None = None,
        generation: Callable[[], int] = lambda: 0,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`generation` tells that of the counters which this worker is in."""
        self._engine = engine
        self._sealer = sealer
        self._offload = offload
        self._health = health or CredentialHealth()
        self._generation = generation
        self._monotonic = monotonic
        self._now = now
        self._entries: OrderedDict[bytes, KnownKey] = OrderedDict()  # by digest, in half the memory of its text
        self._unknown: OrderedDict[str, float] = OrderedDict()  # digest -> monotonic time of the look
        self._organizations: dict[str, OfOrganization] = {}
        self._failing: OrderedDict[str, float] = OrderedDict()  # digest -> without an answer since, monotonic
        self._seeds: OrderedDict[str, tuple[int, Seed]] = OrderedDict()  # key -> generation, read along with it
        self._loading: dict[str, AsyncResult[KnownKey | None]] = {}
        self._next: dict[str, AsyncResult[KnownKey | None]] = {}

    def find(self, digest: str) -> KnownKey | None:
        """The key of this secret, as it was last loaded; None when there is none. Raises KeysUnavailable."""
        known = self._entries.get(unhexlify(digest))
        if known is not None:
            if self._monotonic() - known.loaded_at >= GUARD_SECONDS:
                self._refresh(digest, known)
            return known if known.changes_at is None else self._as_of_now(digest, known)
        looked = self._unknown.get(digest)
        if looked is not None and self._monotonic() - looked < NEGATIVE_SECONDS:
            return None
        running = self._loading.get(digest) or self._next.get(digest)
        return self.reload(digest) if running is None else self._outcome(running)

    def reload_strictly(self, digest: str) -> KnownKey | None:
        """As `reload`; and what was known before is no answer while the database gives none."""
        known = self.reload(digest)
        if digest in self._failing:
            raise KeysUnavailable("the database does not answer")
        return known

    def reload(self, digest: str) -> KnownKey | None:
        """The key of this secret as it stands in the database from this moment on. Raises KeysUnavailable.

        A load that runs already may have read before this moment, so all who come meanwhile share the next one.
        """
        following = self._next.get(digest)
        if following is not None:
            return self._outcome(following)
        running = self._loading.get(digest)
        if running is None:
            return self._load_first(digest)
        following = self._next[digest] = AsyncResult()
        try:
            running.wait()
        except BaseException:
            following.set_exception(KeysUnavailable("cut off"))
            raise
        finally:
            del self._next[digest]
        return self._load_first(digest, following)

    def _load_first(self, digest: str, result: "AsyncResult[KnownKey | None] | None" = None) -> KnownKey | None:
        result = self._loading[digest] = result or AsyncResult()
        try:
            known = self._loaded(digest)
        except BaseException as error:
            result.set_exception(error if isinstance(error, Exception) else KeysUnavailable("cut off"))
            raise
        else:
            result.set(known)
            return known
        finally:
            del self._loading[digest]

    @staticmethod
    def _outcome(result: "AsyncResult[KnownKey | None]") -> KnownKey | None:
        known: KnownKey | None = result.get()
        return known

    def _loaded(self, digest: str) -> KnownKey | None:
        try:
            known, seed = self._offload(self._read, digest, self._generation())
        except (SQLAlchemyError, OffloadTimeout) as error:
            return self._while_down(digest, error)
        self._failing.pop(digest, None)
        if known is None:
            self._entries.pop(unhexlify(digest), None)
            _remember(self._unknown, digest, self._monotonic())
            return None
        self._unknown.pop(digest, None)
        _remember(self._entries, unhexlify(digest), known)
        if seed is not None:
            _remember(self._seeds, known.key.id, (known.generation, seed), MAX_SEEDS)
        return self._as_of_now(digest, known)

    def take_seed(self, known: KnownKey) -> Seed | None:
        """What the ledger said of a key when it was loaded, once: the counters keep it."""
        found = self._seeds.pop(known.key.id, None) if self._seeds else None
        return found[1] if found is not None and found[0] == known.generation else None

    def _while_down(self, digest: str, error: Exception) -> KnownKey | None:
        known, at = self._entries.get(unhexlify(digest)), self._monotonic()
        if known is not None:
            since = self._failing.get(digest)
            if since is None:
                since = at
                _remember(self._failing, digest, since)
                log.warning("the database does not answer; using what is known of %s", known.key.prefix)
            if at - since < STALE_SECONDS:
                return self._as_of_now(digest, known)
        raise KeysUnavailable(type(error).__name__) from error

    def _refresh(self, digest: str, known: KnownKey) -> None:
        """Load an old entry anew in the background, and try no more often than the guard says."""
        self._entries[unhexlify(digest)] = replace(known, loaded_at=self._monotonic())
        gevent.spawn(self._refresh_quietly, digest)

    def _refresh_quietly(self, digest: str) -> None:
        try:
            self.reload(digest)
        except KeysUnavailable as error:
            log.warning("a key could not be refreshed: %s", error)

    def _read(self, digest: str, generation: int) -> tuple[KnownKey | None, Seed | None]:
        """One statement for a key; three more when what its organisation shares is new to us, one if it has a limit."""
        with self._engine.connect() as connection:
            row = connection.execute(_KEY, {"digest": digest}).one_or_none()
            if row is None:
                return None, None
            organization = limits_of(row.org_rate_limit_rpm, row.org_spend_limit_nanos, row.org_spend_reset)
            zone, org_version = zones.of_stored(row.time_zone), row.policy_version
            key = snapshot_of(row, self._now(), organization, zone)
            shared = self._organizations.get(key.org_id)
            if shared is None or shared.version != org_version:
                prices = connection.execute(_PRICES, {"org_id": key.org_id})
                custom = read_custom(connection, key.org_id) or NO_CUSTOM
                credentials = read_credentials(connection, key.org_id, self._sealer, self._health)
                without = [name for name, one in custom.items() if not one.provider.auth_header]
                credentials = with_none_needed(credentials, without, self._health)
                shared = OfOrganization(org_version, credentials, book_of(prices), custom)
                self._organizations[key.org_id] = shared
            until = None if row.valid_until is None else row.valid_until.timestamp()
            ends = [until] if key.boost is None else [until, key.boost.until]
            changes_at = min((end for end in ends if end is not None), default=None)
            second = _second(int(self._monotonic()))
            known = KnownKey(key, shared, until, generation, second, changes_at)
            if key.spend_limit_nanos is None or not generation:
                return known, None
            today = datetime.fromtimestamp(self._now(), UTC).toordinal()
            seeds = read_seeds(connection, [key.id], generation, today)
            return known, None if seeds is None else seeds[key.id]

    def _as_of_now(self, digest: str, known: KnownKey) -> KnownKey | None:
        """What time has made of an entry, whether the database answers or not. None: its secret was rotated out."""
        now = self._now()
        if known.valid_until is not None and now >= known.valid_until:
            return None
        current = known.as_of(now)
        place = unhexlify(digest)
        if current is not known and self._entries.get(place) is known:
            self._entries[place] = current
        return current


_second = lru_cache(maxsize=64)(float)  # one object for all keys that are loaded in a second


def _remember(cache: OrderedDict[K, T], digest: K, value: T, at_most: int | None = None) -> None:
    """Keep the newest entries. Of a plain dict the first is found by a walk over all that were deleted before it."""
    cache.pop(digest, None)
    if len(cache) >= (at_most or MAX_ENTRIES):
        cache.popitem(last=False)
    cache[digest] = value

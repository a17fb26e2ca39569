"""Keys and credentials, looked up by the digest of a secret and cached by the organisation's policy epoch.

A cached entry is used for at most five seconds, and within these only while the epoch it was loaded under is still
the current one: whoever admits a request compares the two in the counters and asks for `reload` when they differ.
The epoch is read before the row, so an edit between the two makes the entry too old, never too new. While the
database is down, an entry is used for up to thirty seconds; then the answer is `KeysUnavailable`.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Engine, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from proxyd.offload import Offload
from shared.models import KeySecret, ProviderCredential, ProxyKey
from shared.policy import KeySnapshot
from shared.sealing import Sealer, UnsealError

log = logging.getLogger(__name__)

FRESH_SECONDS = 5.0
STALE_SECONDS = 30.0
NEGATIVE_SECONDS = 1.0
MAX_ENTRIES = 100_000


class KeysUnavailable(Exception):
    """The database does not answer and nothing recent enough is cached."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key, and what it takes to serve it."""

    key: KeySnapshot
    credentials: Mapping[str, str] = field(repr=False)  # provider slug -> the real credential
    epoch: int
    valid_until: float | None  # Unix seconds; set on a secret that was rotated out
    loaded_at: float  # monotonic


class KeyCache:
    """Finds keys by digest. `offload` runs a blocking call.

    `epoch_of` reads an organisation's policy epoch and raises nothing: what it gives while nobody knows the epoch must
    never be a real one, so that the entry is too old as soon as it can be compared.
    """

    def __init__(
        self,
        engine: Engine,
        sealer: Sealer,
        epoch_of: Callable[[str], int],
        offload: Offload,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._sealer = sealer
        self._epoch_of = epoch_of
        self._offload = offload
        self._monotonic = monotonic
        self._now = now
        self._known: dict[str, KnownKey] = {}
        self._unknown: dict[str, float] = {}  # digest -> monotonic time of the look

    def find(self, digest: str) -> KnownKey | None:
        """The key of this secret, from the cache when fresh; None when there is none. Raises KeysUnavailable."""
        known = self._known.get(digest)
        at = self._monotonic()
        if known is not None and at - known.loaded_at < FRESH_SECONDS:
            return self._unless_rotated_out(known)
        looked = self._unknown.get(digest)
        if looked is not None and at - looked < NEGATIVE_SECONDS:
            return None
        return self.reload(digest)

    def reload(self, digest: str) -> KnownKey | None:
        """The key of this secret as it stands now in the database. Raises KeysUnavailable."""
        cached = self._known.get(digest)
        try:
            known = self._load(digest, None if cached is None else cached.key.org_id)
        except SQLAlchemyError as error:
            if cached is not None and self._monotonic() - cached.loaded_at < STALE_SECONDS:
                log.warning("the database does not answer; using what is known of %s: %s", cached.key.prefix, error)
                return self._unless_rotated_out(cached)
            raise KeysUnavailable(type(error).__name__) from error
        if known is None:
            self._known.pop(digest, None)
            _remember(self._unknown, digest, self._monotonic())
            return None
        self._unknown.pop(digest, None)
        _remember(self._known, digest, known)
        return self._unless_rotated_out(known)

    def _load(self, digest: str, org_id: str | None) -> KnownKey | None:
        """Read the epoch, then the rows. The first time the organisation is not known yet, so it takes two reads."""
        if org_id is None:
            org_id = self._offload(self._org_of, digest)
            if org_id is None:
                return None
        epoch, at = self._epoch_of(org_id), self._monotonic()
        row: tuple[KeySnapshot, dict[str, str], float | None] | None = self._offload(self._read, digest)
        if row is None:
            return None
        key, credentials, valid_until = row
        return KnownKey(key, credentials, epoch, valid_until, at)

    def _org_of(self, digest: str) -> str | None:
        with Session(self._engine) as session:
            return session.scalar(select(ProxyKey.org_id).join(KeySecret).where(KeySecret.digest == digest))

    def _read(self, digest: str) -> tuple[KeySnapshot, dict[str, str], float | None] | None:
        with Session(self._engine) as session:
            secret = session.get(KeySecret, digest)
            if secret is None:
                return None
            key = secret.key.snapshot()
            until = None if secret.valid_until is None else secret.valid_until.timestamp()
            rows = session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == key.org_id)).all()
            credentials = {}
            for row in rows:
                try:
                    credentials[row.provider] = self._sealer.unseal(row.sealed)
                except UnsealError as error:
                    log.error("credential of %s: %s", row.provider, error)
            return key, credentials, until

    def _unless_rotated_out(self, known: KnownKey) -> KnownKey | None:
        return None if known.valid_until is not None and self._now() >= known.valid_until else known


def _remember(cache: dict[str, Any], digest: str, value: Any) -> None:
    """Keep the newest entries: a dict keeps the order of insertion, so the first is the oldest."""
    cache.pop(digest, None)
    if len(cache) >= MAX_ENTRIES:
        del cache[next(iter(cache))]
    cache[digest] = value

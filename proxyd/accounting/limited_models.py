"""On which rows of limits for models an attempt counts, where its own charge does not tell.

In counters that were just made, an attempt that began before a limit was set counts against it too, if its model does.
So what is replayed of journals goes by the limits as the database has them; one that was set after these counters were
made is not judged in them (`ModelLimit.since`), so that it does not matter who has read it already.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import orjson
from sqlalchemy import Connection, select

from proxyd.accounting.records import Attempt
from shared.counters import Hold
from shared.model_limits import ModelLimits, model_limits_of, rows_of
from shared.models import AccountingState, ProxyKey
from shared.policy import limits_for

_ANY = select(AccountingState.model_limits)
_LIMITED = select(ProxyKey.id, ProxyKey.model_limits)
_SUMMED_SQLITE = "select id from proxy_keys where model_limits is not null and id in (select value from json_each(?))"
_SUMMED_POSTGRESQL = "select id from proxy_keys where model_limits is not null and id = any(%s)"
_SOME = 500

# The limits for models of those of these keys that have any. May raise LedgerUnavailable.
LimitsOf = Callable[[Collection[str]], Mapping[str, ModelLimits]]


def read_model_limits(connection: Connection, key_ids: Collection[str]) -> dict[str, ModelLimits]:
    """Of those of these keys that have any. Raises SQLAlchemyError."""
    wanted = list(key_ids)
    found: dict[str, ModelLimits] = {}
    if not wanted or not connection.scalar(_ANY):
        return found
    for first in range(0, len(wanted), _SOME):
        some = _LIMITED.where(ProxyKey.id.in_(wanted[first : first + _SOME]), ProxyKey.model_limits.is_not(None))
        for key_id, stored in connection.execute(some):
            if limits := model_limits_of(key_id, stored):
                found[key_id] = limits
    return found


def keys_summed_by_model(connection: Connection, key_ids: Collection[str]) -> set[str]:
    """Those of these keys that have, or had, a limit for models. Raises SQLAlchemyError."""
    ids = sorted(key_ids)
    if connection.dialect.name == "sqlite":
        rows = connection.exec_driver_sql(_SUMMED_SQLITE, (orjson.dumps(ids).decode(),))
    else:
        rows = connection.exec_driver_sql(_SUMMED_POSTGRESQL, (ids,))
    return {row[0] for row in rows}


def limits_of_nobody(key_ids: Collection[str]) -> Mapping[str, ModelLimits]:  # noqa: ARG001 - a `LimitsOf`
    """Where no key has such a limit."""
    return {}


def rows_for(limits: Mapping[str, ModelLimits], attempt: Attempt) -> tuple[str, ...]:
    """On which an attempt counts besides its key's."""
    own = limits.get(attempt.key_id)
    if own is None:
        return ()
    return rows_of(limits_for(own, attempt.provider, attempt.requested_model))


class KnownLimits:
    """Limits for models of some keys, each asked for once; none is where there are none, which `may_be` tells."""

    def __init__(self, limits_of: LimitsOf, may_be: Callable[[], bool]) -> None:
        self._limits_of = limits_of
        self._may_be = may_be
        self._asked = set[str]()
        self._limits: dict[str, ModelLimits] = {}

    def learn(self, key_ids: Collection[str]) -> bool:
        """Ask for those that are not known yet; False: there were none, and nothing was waited for.

        Raises what `limits_of` does.
        """
        unknown = set(key_ids) - self._asked
        if not unknown or not self._may_be():
            return False
        self._limits.update(self._limits_of(unknown))
        self._asked |= unknown
        return True

    def rows_for(self, attempt: Attempt) -> tuple[str, ...]:
        """On which an attempt counts besides its key's."""
        return rows_for(self._limits, attempt)

    def rows_by_seq(self, attempts: Iterable[tuple[int, Attempt]]) -> dict[int, tuple[str, ...]]:
        """Of those attempts that count on any."""
        found = ((seq, self.rows_for(attempt)) for seq, attempt in attempts) if self._limits else ()
        return {seq: rows for seq, rows in found if rows}


class RowsOfTold:
    """On which rows attempts count that the counters were not asked to admit, as limits stand in the database."""

    def __init__(self, limits_of: LimitsOf, generation: Callable[[], int]) -> None:
        """`generation`: of the counters that the worker is in."""
        self._limits_of = limits_of
        self._generation = generation

    def of(self, attempts: Collection[Attempt]) -> dict[str, tuple[str, ...]]:
        """By the id of each. To be written before anything is waited for. May raise LedgerUnavailable.

        A limit that is set after this look counts in later counters alone. If we have joined those meanwhile, it has to
        be looked at again.
        """
        while attempts:
            generation = self._generation()
            limits = self._limits_of({attempt.key_id for attempt in attempts})
            if generation == self._generation():
                return {attempt.id: rows_for(limits, attempt) for attempt in attempts} if limits else {}
        return {}


def posted_hold(key_id: str, day: int, nanos: int, requests: int, org_id: str, rows: Sequence[str] = ()) -> Hold:
    """From what a machine has posted; the rows are of limits for models."""
    return Hold(key_id, day, nanos, requests, org_id, tuple(rows))

"""Limits of what a key may spend on some models: since when the counters know all that counts against each.

Counters book on the row of such a limit whatever was admitted while it was set. What came before they can only be told
when they are made: by the ledger's sums by model, and by what workers bring. So a limit that is set on a key that is
there has new counters made, and is judged from those on (docs/decisions); until then requests for its models wait.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy import BigInteger, Date, Select, cast, func, insert, literal, select, update
from sqlalchemy.orm import scoped_session

from shared.models import AccountingState, ModelSpend, ProxyKey, UsageRecord
from shared.periods import FIRST_DAY

ALWAYS = 0  # of a limit that a key was made with: nothing of it came before

Limits = Sequence[Mapping[str, Any]]


def lock_generation(session: scoped_session[Session]) -> int:
    """That of the present counters; nobody posts or makes new ones until this transaction ends.

    Before the key is locked: who posts comes to the two in this order.
    """
    return session.scalar(select(AccountingState.generation).with_for_update()) or 0


def from_the_first(session: scoped_session[Session], limits: Limits) -> list[dict[str, Any]] | None:
    """Those of a key that is being made; None if it has none."""
    if not limits:
        return None
    _begin_sums(session)
    return [{**limit, "since": ALWAYS} for limit in limits]


def from_now_on(
    session: scoped_session[Session], row: ProxyKey, limits: Limits, generation: int
) -> list[dict[str, Any]] | None:
    """Those of a key that is there; it and the generation are locked. One that it has already keeps what it knows."""
    before = row.model_limits
    since = {limit["model"]: limit["since"] for limit in before or ()}
    if any(limit["model"] not in since for limit in limits):
        if before is None:
            _begin_sums(session)
            _add_up(session, row.id)
        session.execute(
            update(AccountingState).values(outdated=generation).execution_options(synchronize_session=False)
        )
    found = [{**limit, "since": since.get(limit["model"], generation + 1)} for limit in limits]
    return found if found or before is not None else None  # once there were some, the sums go on


def _begin_sums(session: scoped_session[Session]) -> None:
    """From now on whoever posts asks which keys have sums by model."""
    none_yet = update(AccountingState).where(AccountingState.model_limits.is_(False))
    session.execute(none_yet.values(model_limits=True).execution_options(synchronize_session=False))


def _add_up(session: scoped_session[Session], key_id: str) -> None:
    """What the ledger has of a key by now, by day and in all."""
    for query in (_sums(key_id, by_day=True), _sums(key_id, by_day=False)):
        columns = ("key_id", "day", "provider", "model", "generation", "base_nanos", "total_nanos")
        session.execute(insert(ModelSpend).from_select(columns, query))


def _sums(key_id: str, *, by_day: bool) -> Select[*tuple[Any, ...]]:
    day = UsageRecord.day if by_day else literal(FIRST_DAY, Date())
    groups = (UsageRecord.provider, UsageRecord.requested_model)
    cost = cast(func.sum(UsageRecord.cost_nanos), BigInteger)
    query = select(UsageRecord.key_id, day, *groups, literal(0), literal(0), cost).where(
        UsageRecord.key_id == key_id, UsageRecord.requested_model.is_not(None)
    )
    grouped = query.group_by(UsageRecord.key_id, *groups, *((UsageRecord.day,) if by_day else ()))
    return grouped.having(func.sum(UsageRecord.cost_nanos) != 0)

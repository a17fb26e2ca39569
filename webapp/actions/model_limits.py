"""Limits of what a key may spend on some models: since when the counters know all that counts against each.

Counters book on the row of such a limit whatever was admitted while it was set. What came before they can only be told
when they are made: by the ledger's sums by model, and by what workers bring. So a limit that is set on a key that is
there has new counters made, and is judged from those on (docs/decisions); until then requests for its models wait.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from flask_sqlalchemy.session import Session
from sqlalchemy import select, update
from sqlalchemy.orm import scoped_session

from shared.models import AccountingState, ProxyKey
from webapp.actions.model_sums import Noted, write_sums

ALWAYS = 0  # of a limit that a key was made with: nothing of it came before

Limits = Sequence[Mapping[str, Any]]


class PatternIsNew(Exception):
    """A limit is new to its key, which takes the lock on the generation, and what the ledger has of the key."""


def lock_generation(session: scoped_session[Session]) -> int:
    """That of the present counters; nobody posts or makes new ones until this transaction ends.

    Before the key is locked: who posts comes to the two in this order.
    """
    return session.scalar(select(AccountingState.generation).with_for_update()) or 0


def may_be_new(row: ProxyKey, told: object) -> bool:
    """Whether limits as they are told, of which nobody has read yet whether they are any, have one new to a key."""
    known = [limit["model"] for limit in row.model_limits or ()]
    some = told if isinstance(told, list | tuple) else ()
    return any(isinstance(limit, Mapping) and limit.get("model") not in known for limit in some)


def from_the_first(session: scoped_session[Session], limits: Limits) -> list[dict[str, Any]] | None:
    """Those of a key that is being made; None if it has none."""
    if not limits:
        return None
    _begin_sums(session)
    return [{**limit, "since": ALWAYS} for limit in limits]


def from_now_on(
    session: scoped_session[Session], row: ProxyKey, limits: Limits, generation: int, noted: Noted | None
) -> list[dict[str, Any]] | None:
    """Those of a key that is there and locked. One that it has already keeps what it knows.

    With `noted`, the generation is locked as well. Raises PatternIsNew where it is not and had to be.
    """
    before = row.model_limits
    since = {limit["model"]: limit["since"] for limit in before or ()}
    if any(limit["model"] not in since for limit in limits):
        if noted is None:
            raise PatternIsNew
        _begin_sums(session)
        write_sums(session, noted)
        session.execute(
            update(AccountingState).values(outdated_for_models=generation).execution_options(synchronize_session=False)
        )
    found = [{**limit, "since": since.get(limit["model"], generation + 1)} for limit in limits]
    return found if found or before is not None else None  # once there were some, the sums go on


def _begin_sums(session: scoped_session[Session]) -> None:
    """From now on whoever posts asks which keys have sums by model."""
    none_yet = update(AccountingState).where(AccountingState.model_limits.is_(False))
    session.execute(none_yet.values(model_limits=True).execution_options(synchronize_session=False))

"""Making an edit hold for the very next request: its version goes to the counters, which every proxy asks.

The edit itself leaves an entry in the outbox, in its own transaction. So if we die between the commit and the telling,
the ledger writer tells; it also clears the outbox, a moment later.
"""

import logging
import time
from collections.abc import Collection

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import select, update
from sqlalchemy.orm import scoped_session

from shared.counters import CountersUnavailable, SharedState, SharedStateMissing, boot_id, is_in_use
from shared.machines import database_now, live_machines
from shared.models import AccountingState, Organization, PolicyOutbox, ProxyKey
from shared.seeds import keep_row_of
from webapp.context import counters
from webapp.db import db

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.02


class NotInForce(Exception):
    """The change is saved, but the proxies could not be told yet; the ledger writer tells them as soon as it can."""


def changed(session: scoped_session[Session], subject: str) -> None:
    """Note, in the transaction of an edit, that a key's or an organisation's policy has a new version."""
    session.add(PolicyOutbox(subject=subject))


def shared_changed(session: scoped_session[Session], org_id: str) -> None:
    """What all keys of an organisation share has a version of its own, raised in the transaction of the change."""
    session.execute(
        update(Organization)
        .where(Organization.id == org_id)
        .values(policy_version=Organization.policy_version + 1)
        .execution_options(synchronize_session=False)
    )
    changed(session, org_id)


def outdate_counters(session: scoped_session[Session], org_id: str) -> None:
    """Have new counters made, in the transaction that limits an organisation, if the present ones keep no row of it.

    The ledger writer sees it within a second; what is judged by that edit waits until then.
    """
    # Locked, because the next ones, if they were made before this is committed, would not keep a row of it either.
    generation = session.scalar(select(AccountingState.generation).with_for_update())
    if generation is not None and not keep_row_of(session.connection(), org_id, generation):
        session.execute(
            update(AccountingState).values(outdated=generation).execution_options(synchronize_session=False)
        )


def publish(subjects: Collection[str]) -> None:
    """Tell the counters the present versions of keys and organisations, by id, after the commit and before the answer.

    Where no proxy runs there is nobody to tell. Raises NotInForce when the counters do not answer in time.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _attach()
            # The generation before the versions: what is read after it is as new as what it is told to.
            generation = counters().status().generation
            counters().publish(generation, *_versions(subjects))
        except (CountersUnavailable, SharedStateMissing) as error:
            if not _somebody_keeps():
                return
            if time.monotonic() >= deadline:
                log.error("a change is saved and could not be told to the proxies: %s", error)
                raise NotInForce(
                    "The change is saved, but the proxies could not be told at once. It takes effect within seconds of "
                    "their counters answering again."
                ) from error
            time.sleep(_PAUSE_SECONDS)
        else:
            return


def _somebody_keeps() -> bool:
    """Whether a proxy runs, here or on another machine, that goes by the counters."""
    if is_in_use(current_app.extensions["settings"].data_dir):
        return True
    if counters().shared is None:
        return False
    connection = db.session.connection()
    return any(live_machines(connection, database_now(connection)).values())


def _attach() -> None:
    """Compare the counters with the shared state that stands there now, where a proxy keeps one beside us."""
    data_dir = current_app.extensions["settings"].data_dir
    if counters().shared and not is_in_use(data_dir):
        current_app.extensions["accounting_shared_state"] = None
        counters().attach(None)  # the proxies are on other machines; what stands here is of one that has ended
        return
    shared_state: SharedState | None = current_app.extensions.get("accounting_shared_state")
    if shared_state is None or not shared_state.is_current():
        shared_state = SharedState.open(data_dir, boot_id())
        current_app.extensions["accounting_shared_state"] = shared_state
        counters().attach(shared_state)


def _versions(subjects: Collection[str]) -> tuple[dict[str, int], dict[str, int]]:
    db.session.rollback()  # what was read before this moment may be old
    keys = db.session.execute(select(ProxyKey.id, ProxyKey.version).where(ProxyKey.id.in_(subjects)))
    orgs = db.session.execute(select(Organization.id, Organization.policy_version).where(Organization.id.in_(subjects)))
    return dict(keys.all()), dict(orgs.all())

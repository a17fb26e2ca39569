"""Ending the links of a key whose secrets are to be seen by nobody any more, within whatever ends those."""

from flask_sqlalchemy.session import Session
from sqlalchemy import select
from sqlalchemy.orm import scoped_session

from shared.models import HandOver
from webapp.actions import audit
from webapp.context import Actor


def end_links(session: scoped_session[Session], actor: Actor, key_id: str) -> None:
    """End all links of a key, and forget the secrets behind them, in the transaction of the change itself."""
    for row in session.scalars(select(HandOver).where(HandOver.key_id == key_id).with_for_update()):
        audit(session, actor, "key.hand_over_end", key_id, before={"link": row.id, "prefix": row.prefix})
        session.delete(row)

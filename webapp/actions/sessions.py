"""What people do with their own account: their password, and where they are logged in."""

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import delete, select
from sqlalchemy.orm import scoped_session

from shared.counters import Guarded, LoginThrottle
from shared.models import KnownPlace, User, UserSession
from webapp import passwords
from webapp.actions import audit
from webapp.actions.login import LoggedIn, need_passwords, open_here, session_digest
from webapp.context import Actor, Conflict, NotFound
from webapp.db import db, writing
from webapp.events import EVENTS
from webapp.validation import FieldError, Invalid
from webapp.views.sessions import ID_DIGITS


def change_password(actor: Actor, user_id: str, current: str, new: str, *, agent: str = "") -> LoggedIn:
    """Change one's own password; the session that takes the place of all there were.

    The browser is known by another secret afterwards, as somebody else might have the one that it had.
    Raises Invalid, and Conflict "passwords_off", or "too_many_attempts" when the present one was guessed at too often.
    """
    need_passwords()
    user = db.session.scalar(select(User).where(User.id == user_id, User.org_id == actor.org_id))
    if user is None:
        raise NotFound
    stored, email = user.password_hash, user.email
    db.session.rollback()  # as at a login: others need the connection
    if (wrong := passwords.problem(new, email=email)) is not None:
        raise Invalid(FieldError("new_password", wrong))
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    names = [Guarded(f"password of {user_id}")]
    if not throttle.attempt(names).admitted:
        EVENTS.note("password_throttled", ip=actor.ip, user=user_id)
        raise Conflict("too_many_attempts", "Too many attempts. Wait a few minutes and try again.")
    if not passwords.matches(stored, current):
        EVENTS.note("password_refused", ip=actor.ip, user=user_id)
        raise Invalid(FieldError("current_password", "is wrong"))
    throttle.succeeded(names)
    if new == current:
        raise Invalid(FieldError("new_password", "is the one you have"))
    made = passwords.hash_password(new)
    with writing() as session:
        session.get_one(User, user_id).password_hash = made
        end_all(session, user_id)
        audit(session, actor, "user.password", user_id)
    EVENTS.note("password_changed", ip=actor.ip, user=user_id)
    return open_here(actor, user_id, agent=agent)


def end_session(actor: Actor, user_id: str, session_id: str) -> None:
    """End one of somebody's sessions, by the id that they see. Raises NotFound."""
    with writing() as session:
        query = select(UserSession).where(UserSession.user_id == user_id, UserSession.digest.startswith(session_id))
        found = session.scalars(query).all() if len(session_id) == ID_DIGITS and session_id.isalnum() else []
        if len(found) != 1:
            raise NotFound
        session.delete(found[0])
        audit(session, actor, "session.end", user_id)
    EVENTS.note("session_ended", ip=actor.ip, user=user_id)


def sign_out_everywhere(actor: Actor, user_id: str, *, but: str | None = None) -> int:
    """End all sessions of somebody, but the one with the secret id `but`; how many there were."""
    with writing() as session:
        ended = end_all(session, user_id, but=but)
        audit(session, actor, "session.end_all", user_id, after={"ended": ended})
    EVENTS.note("sessions_ended", ip=actor.ip, user=user_id, ended=ended)
    return ended


def end_all(session: scoped_session[Session], user_id: str, *, but: str | None = None) -> int:
    """End sessions in the transaction of what ends them, and forget where somebody came from; how many there were."""
    query = delete(UserSession).where(UserSession.user_id == user_id)
    if but is not None:
        query = query.where(UserSession.digest != session_digest(but))
    else:
        session.execute(delete(KnownPlace).where(KnownPlace.user_id == user_id))
    ended = session.execute(query.returning(UserSession.digest)).all()
    return len(ended)

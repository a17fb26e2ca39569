"""Members of staff: made, let in, shut out."""

from dataclasses import dataclass

from flask_sqlalchemy.session import Session
from sqlalchemy import select
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.models import ROLES, Invitation, User
from webapp import passwords
from webapp.actions import audit
from webapp.actions.form_nonce import writing_once
from webapp.actions.sessions import end_all
from webapp.context import Actor, Conflict, NotFound, now
from webapp.db import writing
from webapp.events import EVENTS
from webapp.schemas.members import fold_email, read_person
from webapp.validation import FieldError, Invalid
from webapp.views.tokens import chain_of
from webapp.views.users import UserView, view_of


@dataclass(frozen=True, slots=True)
class CreatedUser:
    """A member of staff, and the password if one was made up."""

    user_id: str
    email: str
    role: str
    password: str | None

    def __repr__(self) -> str:
        return f"CreatedUser({self.email!r}, {self.role!r})"


def create_user(actor: Actor, email: str, role: str, *, password: str | None = None) -> CreatedUser:
    """Add a member of staff to the actor's organisation; without `password` one is made up.

    Raises Invalid, and Conflict when somebody has this email already.
    """
    judge_user(email, role, password)
    email = fold_email(email)
    made_up = passwords.make_up() if password is None else None
    password_hash = passwords.hash_password(made_up or password or "")
    with writing() as session:
        user_id = add_user(session, actor, email, role, password_hash)
    return CreatedUser(user_id, email, role, made_up)


def judge_user(email: str, role: str, password: str | None) -> None:
    """Raise Invalid with all that keeps somebody from being added so. None: a password is made up, which is fine."""
    errors = [fault] if (fault := email_fault(email)) is not None else []
    if role not in ROLES:
        errors.append(FieldError("role", f"must be one of {', '.join(ROLES)}"))
    if password is not None and (wrong := passwords.problem(password, email=fold_email(email))) is not None:
        errors.append(FieldError("password", wrong))
    if errors:
        raise Invalid(*errors)


def email_fault(email: str) -> FieldError | None:
    """What is wrong with an email as it was typed: it names somebody wherever it is told what they did."""
    try:
        read_person(email)
    except ValueError as error:
        return FieldError("email", str(error))
    return None


def add_user(session: scoped_session[Session], actor: Actor, email: str, role: str, password_hash: str) -> str:
    """Add a member in the transaction of what makes them one; their id. Raises Conflict "email_taken"."""
    if session.scalar(select(User.id).where(User.email == email)) is not None:
        raise Conflict("email_taken", "Somebody with this email is a member already.")
    user = User(
        id=new_id("usr"), org_id=actor.org_id, email=email, password_hash=password_hash, role=role, created_at=now()
    )
    session.add(user)
    audit(session, actor, "user.create", user.id, after={"email": email, "role": role})
    return user.id


def reset_password(actor: Actor, user_id: str, *, once: str | None = None) -> CreatedUser:
    """Make up a new password for somebody who lost theirs; their sessions end.

    With `once`, a word that was made up for one form, there is one a word. Raises NotFound, and Conflict "form_used".
    """
    used = "This form made a new password already, and it was shown then."
    made_up = passwords.make_up()
    password_hash = passwords.hash_password(made_up)
    with writing_once(actor.org_id, "password", once, used) as session:
        user = _get(session, actor, user_id)
        user.password_hash = password_hash
        end_all(session, user_id)
        audit(session, actor, "user.password_reset", user_id)
        created = CreatedUser(user_id, user.email, user.role, made_up)
    EVENTS.note("password_changed", ip=actor.ip, user=user_id)
    return created


def change_user(actor: Actor, user_id: str, *, role: str | None = None, active: bool | None = None) -> UserView:
    """Let somebody do more or less from now on, or shut them out or let them in again: all of it or nothing.

    Who may do less loses what goes beyond that and was made in their name: tokens, and invitations unless they are
    an administrator. Who is shut out loses all of these, and their sessions, at once; let in again they have their
    password, and nothing of the rest. None leaves something as it is, and so does what it is already. Raises NotFound,
    and Conflict "last_administrator" when nobody would be left to administer.
    """
    with writing() as session:
        alone = not _other_admins(session, actor.org_id, user_id)
        user = _get(session, actor, user_id)
        was_active = user.disabled_at is None
        if role is not None and role != user.role:
            _set_role(session, actor, user, role, alone=alone)
        if active is True and not was_active:
            user.disabled_at = None
            audit(session, actor, "user.activate", user_id)
        if active is False and was_active:
            _deactivate(session, actor, user, alone=alone)
        view = view_of(user)
    if was_active and not view.active:
        EVENTS.note("user_deactivated", ip=actor.ip, user=user_id)
    return view


def _set_role(session: scoped_session[Session], actor: Actor, user: User, role: str, *, alone: bool) -> None:
    if user.role == "admin" and user.disabled_at is None and alone:
        raise Conflict("last_administrator", "The last administrator must stay one. Make another one first.")
    after: dict[str, object] = {"role": role}
    if role != "admin" and (revoked := _end_what_they_made(session, actor, user.email, role)):
        after["tokens_revoked"] = revoked
    audit(session, actor, "user.role", user.id, before={"role": user.role}, after=after)
    user.role = role


def _deactivate(session: scoped_session[Session], actor: Actor, user: User, *, alone: bool) -> None:
    if user.role == "admin" and alone:
        raise Conflict("last_administrator", "The last administrator cannot be deactivated. Make another one first.")
    user.disabled_at = now()
    ended = end_all(session, user.id)
    revoked = _end_what_they_made(session, actor, user.email)
    audit(session, actor, "user.deactivate", user.id, after={"sessions_ended": ended, "tokens_revoked": revoked})


def _get(session: scoped_session[Session], actor: Actor, user_id: str) -> User:
    user = session.scalar(select(User).where(User.id == user_id, User.org_id == actor.org_id).with_for_update())
    if user is None:
        raise NotFound
    return user


def _other_admins(session: scoped_session[Session], org_id: str, user_id: str) -> bool:
    """All are locked, in one order, so that two administrators who shut out each other do not both succeed."""
    query = select(User.id).where(User.org_id == org_id, User.role == "admin", User.disabled_at.is_(None))
    found = session.scalars(query.order_by(User.id).with_for_update()).all()
    return any(one != user_id for one in found)


def _end_what_they_made(session: scoped_session[Session], actor: Actor, email: str, role: str | None = None) -> int:
    """Withdraw invitations, and revoke tokens that allow more than `role` does, or all; how many tokens there were."""
    chain = chain_of(actor.org_id, email, role, lock=True)
    theirs = (Invitation.org_id == actor.org_id, Invitation.created_by.in_(chain.makers))
    for invitation in session.scalars(select(Invitation).where(*theirs).with_for_update()).all():
        told = {"email": invitation.email, "role": invitation.role}
        audit(session, actor, "invitation.withdraw", invitation.id, before=told)
        session.delete(invitation)
    for token in chain.ending:
        token.revoked_at = now()
        audit(session, actor, "token.revoke", token.id, after={"name": token.name, "prefix": token.prefix})
    return len(chain.ending)

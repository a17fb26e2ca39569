"""Members of staff: made, let in, shut out."""

from dataclasses import dataclass

from flask_sqlalchemy.session import Session
from sqlalchemy import select
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.models import ADMIN_SCOPE, ROLES, Invitation, ManagementToken, User
from webapp import passwords
from webapp.actions import audit
from webapp.actions.login import fold_email
from webapp.actions.sessions import end_all
from webapp.context import Actor, Conflict, NotFound, now
from webapp.db import writing
from webapp.events import EVENTS
from webapp.validation import FieldError, Invalid
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
    email = fold_email(email)
    errors = [fault] if (fault := email_fault(email)) is not None else []
    if role not in ROLES:
        errors.append(FieldError("role", f"must be one of {', '.join(ROLES)}"))
    made_up = passwords.make_up() if password is None else None
    chosen = made_up or password or ""
    if made_up is None and (wrong := passwords.problem(chosen, email=email)) is not None:
        errors.append(FieldError("password", wrong))
    if errors:
        raise Invalid(*errors)
    password_hash = passwords.hash_password(chosen)
    with writing() as session:
        user_id = add_user(session, actor, email, role, password_hash)
    return CreatedUser(user_id, email, role, made_up)


def email_fault(email: str) -> FieldError | None:
    """What is wrong with an email, which is folded already."""
    name, _, domain = email.partition("@")
    if not name or not domain or "@" in domain or len(email) > 254 or not email.isprintable() or " " in email:
        return FieldError("email", "is not an email address")
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


def reset_password(actor: Actor, user_id: str) -> CreatedUser:
    """Make up a new password for somebody who lost theirs; their sessions end. Raises NotFound."""
    made_up = passwords.make_up()
    password_hash = passwords.hash_password(made_up)
    with writing() as session:
        user = _get(session, actor, user_id)
        user.password_hash = password_hash
        end_all(session, user_id)
        audit(session, actor, "user.password_reset", user_id)
        created = CreatedUser(user_id, user.email, user.role, made_up)
    EVENTS.note("password_changed", ip=actor.ip, user=user_id)
    return created


def deactivate_user(actor: Actor, user_id: str) -> UserView:
    """Shut somebody out: sessions end at once, and tokens and invitations that they made. Once more is the same.

    Raises NotFound, and Conflict for the last administrator.
    """
    with writing() as session:
        admins = _active_admins(session, actor.org_id)
        user = _get(session, actor, user_id)
        if user.disabled_at is None:
            if user.role == "admin" and admins < 2:
                raise Conflict(
                    "last_administrator", "The last administrator cannot be deactivated. Make another one first."
                )
            user.disabled_at = now()
            ended = end_all(session, user_id)
            revoked = _end_what_they_made(session, actor, user.email)
            audit(
                session, actor, "user.deactivate", user_id, after={"sessions_ended": ended, "tokens_revoked": revoked}
            )
            EVENTS.note("user_deactivated", ip=actor.ip, user=user_id)
        return view_of(user)


def set_role(actor: Actor, user_id: str, role: str | None) -> UserView:
    """Let somebody do more or less from now on; None leaves it.

    What administers in their name ends with their being an administrator: invitations, and tokens with that scope.
    Raises NotFound, and Conflict as `deactivate_user`.
    """
    with writing() as session:
        admins = _active_admins(session, actor.org_id)
        user = _get(session, actor, user_id)
        if role is not None and role != user.role:
            if user.role == "admin" and user.disabled_at is None and admins < 2:
                raise Conflict("last_administrator", "The last administrator must stay one. Make another one first.")
            after: dict[str, object] = {"role": role}
            if user.role == "admin" and (revoked := _end_what_they_made(session, actor, user.email, ADMIN_SCOPE)):
                after["tokens_revoked"] = revoked
            audit(session, actor, "user.role", user_id, before={"role": user.role}, after=after)
            user.role = role
        return view_of(user)


def activate_user(actor: Actor, user_id: str) -> UserView:
    """Let somebody in again, with the password they had; revoked tokens stay revoked. Raises NotFound."""
    with writing() as session:
        user = _get(session, actor, user_id)
        if user.disabled_at is not None:
            user.disabled_at = None
            audit(session, actor, "user.activate", user_id)
        return view_of(user)


def _get(session: scoped_session[Session], actor: Actor, user_id: str) -> User:
    user = session.scalar(select(User).where(User.id == user_id, User.org_id == actor.org_id).with_for_update())
    if user is None:
        raise NotFound
    return user


def _active_admins(session: scoped_session[Session], org_id: str) -> int:
    """Locked, in one order, so that two administrators who shut out each other do not both succeed."""
    query = select(User.id).where(User.org_id == org_id, User.role == "admin", User.disabled_at.is_(None))
    return len(session.scalars(query.order_by(User.id).with_for_update()).all())


def _end_what_they_made(session: scoped_session[Session], actor: Actor, email: str, scope: str | None = None) -> int:
    """Withdraw invitations and revoke tokens, those with `scope` if one is named; how many tokens there were.

    Also what was made with such a token.
    """
    makers, revoked = [email], 0
    while makers:
        theirs = (Invitation.org_id == actor.org_id, Invitation.created_by.in_(makers))
        for invitation in session.scalars(select(Invitation).where(*theirs).with_for_update()).all():
            told = {"email": invitation.email, "role": invitation.role}
            audit(session, actor, "invitation.withdraw", invitation.id, before=told)
            session.delete(invitation)
        query = select(ManagementToken).where(
            ManagementToken.org_id == actor.org_id,
            ManagementToken.created_by.in_(makers),
            ManagementToken.revoked_at.is_(None),
        )
        found = [
            token for token in session.scalars(query.with_for_update()).all() if scope is None or scope in token.scopes
        ]
        for token in found:
            token.revoked_at = now()
            audit(session, actor, "token.revoke", token.id, after={"name": token.name, "prefix": token.prefix})
        session.flush()
        revoked += len(found)
        makers = [token.id for token in found]
    return revoked

"""Invite members of staff by a link that opens once, within a week; whoever it is chooses a password of their own."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError

from shared.ids import new_id
from shared.models import IdempotentCreation, Invitation, User
from webapp import passwords
from webapp.actions import audit
from webapp.actions.link_guesses import count_guess
from webapp.actions.login import LoggedIn, need_passwords, open_here
from webapp.actions.users import add_user, email_fault
from webapp.context import Actor, Conflict, now
from webapp.db import db, writing
from webapp.events import EVENTS
from webapp.schemas.members import fold_email
from webapp.schemas.values import to_json_moment
from webapp.validation import FieldError, Invalid
from webapp.views.invitations import InvitationView, row_of, secret_digest, view_of

GOOD_FOR = timedelta(days=7)
OVER = "invitation_over"


@dataclass(frozen=True, slots=True)
class CreatedInvitation:
    """An invitation, and the secret of its link at the only moment it can be seen."""

    view: InvitationView
    secret: str

    def __repr__(self) -> str:
        return f"CreatedInvitation({self.view.email!r})"


def invite(actor: Actor, email: str, role: str, *, once: str | None = None) -> CreatedInvitation:
    """Invite somebody, in the place of an earlier invitation of the same email, whose link is worth nothing any more.

    With `once`, a word that was made up for one form, there is one invitation a word. Raises Invalid, and Conflict
    "email_taken" or "form_used".
    """
    if (fault := email_fault(email)) is not None:
        raise Invalid(fault)
    email = fold_email(email)
    secret, at = secrets.token_urlsafe(32), now()
    try:
        with writing() as session:
            if session.scalar(select(User.id).where(User.email == email)) is not None:
                raise Conflict("email_taken", "Somebody with this email is a member already.")
            if once is not None:
                used = IdempotentCreation(org_id=actor.org_id, idempotency_key=f"invitation-form-{once}", created_id="")
                used.request_digest, used.created_at = "", at
                session.add(used)
            session.execute(delete(Invitation).where(Invitation.org_id == actor.org_id, Invitation.email == email))
            row = Invitation(id=new_id("inv"), org_id=actor.org_id, email=email, role=role)
            row.digest = secret_digest(secret)
            row.created_at, row.created_by, row.expires_at = at, actor.name, at + GOOD_FOR
            session.add(row)
            told = {"email": email, "role": role, "expires_at": to_json_moment(row.expires_at)}
            audit(session, actor, "invitation.create", row.id, after=told)
            view = view_of(row)
    except IntegrityError:
        # The same form, or another invitation of this email, was faster by a moment.
        raise Conflict("form_used", "This invitation was made already, and its link was shown then.") from None
    return CreatedInvitation(view, secret)


def withdraw(actor: Actor, invitation_id: str) -> InvitationView:
    """Make the link of an invitation worth nothing; answers with the invitation that was. Raises NotFound."""
    with writing() as session:
        row = row_of(actor.org_id, invitation_id)
        view = view_of(row)
        session.delete(row)
        audit(session, actor, "invitation.withdraw", row.id, before={"email": row.email, "role": row.role})
    return view


def accept(secret: str, password: str, ip: str | None, *, agent: str = "") -> LoggedIn:
    """Become a member with this password, and be logged in.

    Raises Invalid for the password, and Conflict "invitation_over", "email_taken" or "passwords_off".
    """
    need_passwords()
    row = _found(secret)
    email, org_id = row.email, row.org_id
    db.session.rollback()  # hashing takes long, and others need the connection
    if (wrong := passwords.problem(password, email=email)) is not None:
        raise Invalid(FieldError("password", wrong))
    password_hash = passwords.hash_password(password)
    actor = Actor(org_id, email, ip)
    with writing() as session:
        row = _found(secret)
        user_id = add_user(session, actor, email, row.role, password_hash)
        audit(
            session, actor, "invitation.accept", row.id, after={"email": email, "role": row.role, "by": row.created_by}
        )
        session.delete(row)
    EVENTS.note("invitation_accepted", ip=ip, user=user_id)
    return open_here(actor, user_id, agent=agent)


def note_guess(ip: str | None) -> None:
    """Note that somebody opened a link that there is none of. Raises Conflict "throttled" after many of them."""
    EVENTS.note("invitation_unknown", ip=ip)
    count_guess(ip)


def _found(secret: str) -> Invitation:
    """Locked, so that of two who open a link at the same moment one comes in."""
    query = select(Invitation).where(Invitation.digest == secret_digest(secret), Invitation.expires_at > now())
    row = db.session.scalar(query.with_for_update())
    if row is None:
        raise Conflict(OVER, "This link was used, withdrawn, or is older than a week. Ask for a new one.")
    return row

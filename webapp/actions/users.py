"""Create members of staff."""

import secrets
from dataclasses import dataclass

from sqlalchemy import select

from shared.ids import new_id
from shared.models import ROLES, User
from webapp.actions import audit
from webapp.actions.login import MAX_PASSWORD_BYTES, fold_email, hash_password
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.validation import FieldError, Invalid

_SHORTEST_PASSWORD = 8


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
    errors = []
    name, _, domain = email.partition("@")
    if not name or not domain or "@" in domain or len(email) > 254 or not email.isprintable() or " " in email:
        errors.append(FieldError("email", "is not an email address"))
    if role not in ROLES:
        errors.append(FieldError("role", f"must be one of {', '.join(ROLES)}"))
    made_up = secrets.token_urlsafe(15) if password is None else None
    chosen = made_up or password or ""
    if not _SHORTEST_PASSWORD <= len(chosen.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD_BYTES:
        errors.append(FieldError("password", f"must have {_SHORTEST_PASSWORD} to {MAX_PASSWORD_BYTES} bytes"))
    if errors:
        raise Invalid(*errors)
    password_hash = hash_password(chosen)
    with writing() as session:
        if session.scalar(select(User.id).where(User.email == email)) is not None:
            raise Conflict("email_taken", "Somebody with this email is a member already.")
        user = User(
            id=new_id("usr"),
            org_id=actor.org_id,
            email=email,
            password_hash=password_hash,
            role=role,
            created_at=now(),
        )
        session.add(user)
        audit(session, actor, "user.create", user.id, after={"email": email, "role": role})
        user_id = user.id
    return CreatedUser(user_id, email, role, made_up)

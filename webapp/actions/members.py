"""Change what members of staff may do, and let them go."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select

from shared.models import User, UserSession
from webapp.actions import audit
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.schemas.members import MemberPatch
from webapp.validation import read
from webapp.views.members import MemberView, row_of, view_of


def update_member(actor: Actor, user_id: str, document: Mapping[str, object]) -> MemberView:
    """Change a member's role, or whether they may log in; whoever may not is logged out everywhere at once.

    Raises NotFound, Invalid, and Conflict "last_admin" when nobody would be left to administer.
    """
    patch = read(MemberPatch, document)
    with writing() as session:
        row = row_of(actor.org_id, user_id, lock=True)
        before = {"role": row.role, "active": row.disabled_at is None}
        after: dict[str, Any] = before | {name: getattr(patch, name) for name in patch.model_fields_set}
        changed = [name for name in before if before[name] != after[name]]
        if not changed:
            return view_of(row)
        if before == {"role": "admin", "active": True}:
            # All of them are locked while they are counted, so that two cannot let each other go at once.
            admins = select(User.id).where(
                User.org_id == actor.org_id, User.role == "admin", User.disabled_at.is_(None)
            )
            if session.scalars(admins.order_by(User.id).with_for_update()).all() == [user_id]:
                message = "This is the only administrator who may log in. Make somebody else one first."
                raise Conflict("last_admin", message)
        row.role = after["role"]
        if "active" in changed:
            row.disabled_at = None if after["active"] else now()
            session.execute(delete(UserSession).where(UserSession.user_id == user_id))
        told = {"before": {name: before[name] for name in changed}, "after": {name: after[name] for name in changed}}
        audit(session, actor, "user.update", user_id, **told)
        return view_of(row)

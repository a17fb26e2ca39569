"""What a merge patch of a member of staff asks for, in the words of `users`."""

from collections.abc import Mapping
from typing import Any

from webapp.actions.users import change_user
from webapp.context import Actor
from webapp.schemas.members import MemberPatch
from webapp.validation import read
from webapp.views.users import UserView


def update_member(
    actor: Actor, user_id: str, document: Mapping[str, object], *, served: Mapping[str, Any] | None = None
) -> UserView:
    """Change a member's role, or whether they may log in; whoever may not is logged out everywhere at once.

    `served` is what is told of them. Raises NotFound, Invalid,
    and Conflict "last_administrator" when nobody would be left to administer.
    """
    patch = read(MemberPatch, document, served=served)
    said = patch.model_fields_set
    return change_user(
        actor, user_id, role=patch.role if "role" in said else None, active=patch.active if "active" in said else None
    )

"""Members of staff, as others see them."""

from dataclasses import dataclass
from datetime import datetime

from shared.models import User


@dataclass(frozen=True, slots=True)
class UserView:
    """One member of staff. `disabled_at` is when they were deactivated."""

    id: str
    email: str
    role: str
    created_at: datetime
    disabled_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether they may log in."""
        return self.disabled_at is None


def view_of(row: User) -> UserView:
    return UserView(row.id, row.email, row.role, row.created_at, row.disabled_at)

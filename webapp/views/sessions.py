"""Sessions as their owner sees them. Of the digest by which one is stored the first digits are its id."""

from dataclasses import dataclass
from datetime import datetime

from shared.models import UserSession

ID_DIGITS = 32


@dataclass(frozen=True, slots=True)
class SessionView:
    """One login. `current` is the one that asks."""

    id: str
    created_at: datetime
    seen_at: datetime
    ip: str | None
    agent: str | None
    current: bool


def view_of(row: UserSession, current_digest: str) -> SessionView:
    """The view of a session, for whoever asks from the one with this digest."""
    return SessionView(
        id=row.digest[:ID_DIGITS],
        created_at=row.created_at,
        seen_at=row.seen_at,
        ip=row.ip,
        agent=row.agent,
        current=row.digest == current_digest,
    )

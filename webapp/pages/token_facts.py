"""A management token in the words of the dashboard."""

from dataclasses import dataclass
from datetime import datetime

from webapp.render import relative
from webapp.views.tokens import TokenView


@dataclass(frozen=True, slots=True)
class TokenRow:
    """One row of the table of tokens."""

    id: str
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    created: str
    created_by: str
    last_used_at: datetime | None
    last_used: str
    expires_at: datetime | None
    expires: str
    expired: bool
    revoked: bool


def token_row(view: TokenView, at: datetime) -> TokenRow:
    """All of a row, as seen at the moment `at`."""
    return TokenRow(
        id=view.id,
        name=view.name,
        prefix=view.prefix,
        scopes=view.scopes,
        created_at=view.created_at,
        created=relative(view.created_at, at),
        created_by=view.created_by,
        last_used_at=view.last_used_at,
        last_used=relative(view.last_used_at, at),
        expires_at=view.expires_at,
        expires=relative(view.expires_at, at),
        expired=view.expires_at is not None and view.expires_at <= at,
        revoked=view.revoked_at is not None,
    )

"""Management tokens: what may be set of one, and what is told of one."""

from pydantic import Field

from webapp.schemas import Input, Output
from webapp.schemas.values import Expiry, Moment, Name, Scopes


class NewToken(Input):
    """A management token to be made."""

    name: Name = Field(description="A label for people.")
    scopes: Scopes = Field(description="What it may do; none includes another.")
    expires_at: Expiry | None = Field(default=None, description="In the future. Null: never.")


class Token(Output):
    """A management token."""

    id: str
    name: str
    prefix: str = Field(examples=["sk-mgmt-a1b2"])
    scopes: tuple[str, ...]
    created_at: Moment
    created_by: str
    expires_at: Moment | None
    last_used_at: Moment | None = Field(description="To the minute.")
    revoked_at: Moment | None


class CreatedToken(Token):
    """A management token, and its secret at the only moment that it can be seen."""

    token: str = Field(description="The secret, this once.")


class TokenList(Output):
    """All tokens, the newest first."""

    data: list[Token]

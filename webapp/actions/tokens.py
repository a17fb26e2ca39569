"""Create and revoke management tokens."""

from collections.abc import Iterable
from dataclasses import dataclass

from shared import keys as secrets
from shared.ids import new_id
from shared.models import ManagementToken
from webapp.actions import audit
from webapp.context import Actor, now
from webapp.db import writing
from webapp.schemas.tokens import NewToken
from webapp.validation import read
from webapp.views.tokens import TokenView, row_of, view_of


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A token, and its secret at the only moment it can be seen."""

    view: TokenView
    secret: str

    def __repr__(self) -> str:
        return f"CreatedToken({self.view.prefix}...)"


def create_token(actor: Actor, name: str, scopes: Iterable[str], *, raw: str | None = None) -> CreatedToken:
    """Make a token; `raw` is one that the operator brings along (ROUTER_BOOTSTRAP_TOKEN). Raises Invalid."""
    wanted = read(NewToken, {"name": name, "scopes": list(scopes)})
    made = secrets.mint(secrets.MANAGEMENT_TAG) if raw is None else _brought(raw)
    with writing() as session:
        row = ManagementToken(
            id=new_id("tok"),
            org_id=actor.org_id,
            name=wanted.name,
            prefix=made.prefix,
            digest=made.digest,
            scopes=wanted.scopes,
            created_at=now(),
            created_by=actor.name,
        )
        session.add(row)
        after = {"name": wanted.name, "prefix": made.prefix, "scopes": wanted.scopes}
        audit(session, actor, "token.create", row.id, after=after)
        token_id = row.id
    return CreatedToken(view_of(row_of(actor.org_id, token_id)), made.raw)


def revoke_token(actor: Actor, token_id: str) -> TokenView:
    """Disable a token for ever; once more is the same. Raises NotFound."""
    with writing() as session:
        row = row_of(actor.org_id, token_id, lock=True)
        if row.revoked_at is None:
            row.revoked_at = now()
            audit(session, actor, "token.revoke", row.id, after={"name": row.name, "prefix": row.prefix})
    return view_of(row_of(actor.org_id, token_id))


def _brought(raw: str) -> secrets.NewKey:
    return secrets.NewKey(raw, secrets.digest(raw.encode()), raw[: len(secrets.MANAGEMENT_TAG) + 4])

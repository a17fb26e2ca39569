"""Create and revoke management tokens."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError

from shared import keys as secrets
from shared.ids import new_id
from shared.models import IdempotentCreation, ManagementToken
from webapp.actions import audit
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.schemas.tokens import NewToken
from webapp.schemas.values import to_json_moment
from webapp.validation import read
from webapp.views.tokens import TokenView, row_of, view_of


@dataclass(frozen=True, slots=True)
class CreatedToken:
    """A token, and its secret at the only moment it can be seen."""

    view: TokenView
    secret: str

    def __repr__(self) -> str:
        return f"CreatedToken({self.view.prefix}...)"


def create_token(
    actor: Actor,
    name: str,
    scopes: Iterable[str],
    *,
    raw: str | None = None,
    expires_at: datetime | None = None,
    once: str | None = None,
) -> CreatedToken:
    """Make a token; `raw` is one that the operator brings along (ROUTER_BOOTSTRAP_TOKEN).

    With `once`, a word that was made up for one form, there is one token a word, also when the form is sent twice at
    the same moment. Raises Invalid, and Conflict "form_used".
    """
    said: dict[str, object] = {"name": name, "scopes": list(scopes)}
    if expires_at is not None:
        said["expires_at"] = to_json_moment(expires_at)
    wanted = read(NewToken, said, now=now())
    made = secrets.mint(secrets.MANAGEMENT_TAG) if raw is None else _brought(raw)
    row = ManagementToken(
        id=new_id("tok"),
        org_id=actor.org_id,
        name=wanted.name,
        prefix=made.prefix,
        digest=made.digest,
        scopes=wanted.scopes,
        created_at=now(),
        created_by=actor.name,
        expires_at=expires_at,
    )
    token_id = row.id
    try:
        _insert(actor, row, once)
    except IntegrityError:
        if once is None:
            raise
        raise Conflict("form_used", "This form made a token already, and its secret was shown then.") from None
    return CreatedToken(view_of(row_of(actor.org_id, token_id)), made.raw)


def _insert(actor: Actor, row: ManagementToken, once: str | None) -> None:
    with writing() as session:
        if once is not None:
            used = IdempotentCreation(org_id=actor.org_id, idempotency_key=f"token-form-{once}", created_id=row.id)
            used.request_digest, used.created_at = "", row.created_at
            session.add(used)
        session.add(row)
        told: dict[str, Any] = {"name": row.name, "prefix": row.prefix, "scopes": row.scopes}
        if row.expires_at is not None:
            told["expires_at"] = to_json_moment(row.expires_at)
        audit(session, actor, "token.create", row.id, after=told)


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

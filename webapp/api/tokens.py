"""`/v1/tokens`: management tokens, for tokens that administer."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.tokens import create_token, revoke_token
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.context import now
from webapp.queries.tokens import list_tokens
from webapp.schemas.tokens import CreatedToken, NewToken, Token, TokenList
from webapp.validation import read

bp = Blueprint("api_tokens", __name__, url_prefix="/v1/tokens")


@bp.get("")
@operation("listTokens", ADMIN_SCOPE, TokenList, "All tokens")
def index() -> Response:
    """List management tokens, the newest first; revoked ones stay in the list."""
    return answer(TokenList(data=[Token.model_validate(view) for view in list_tokens(current_actor().org_id)]))


@bp.post("")
@operation(
    "createToken",
    ADMIN_SCOPE,
    CreatedToken,
    "The token, and in `token` its secret, this once",
    status=201,
    body=NewToken,
)
def create(document: dict[str, Any]) -> Response:
    """Make a management token."""
    wanted = read(NewToken, document, now=now())
    created = create_token(current_actor(), wanted.name, wanted.scopes, expires_at=wanted.expires_at)
    told = Token.model_validate(created.view).model_dump()
    return answer(CreatedToken(**told, token=created.secret), 201)


@bp.delete("/<token_id>")
@operation(
    "revokeToken",
    ADMIN_SCOPE,
    Token,
    "The revoked token",
    path={"token_id": "The token's id, tok_ and 26 characters."},
    problems=(404,),
)
def revoke(token_id: str) -> Response:
    """Revoke a management token for ever. Once more is the same; a token may revoke itself."""
    return answer(Token.model_validate(revoke_token(current_actor(), token_id)))

"""`flask --app wsgi tokens ...`: management tokens."""

from typing import Any

import click

from shared.models import ADMIN_SCOPE, SCOPES
from webapp.actions.tokens import create_token, revoke_token
from webapp.cli.fields import options, said
from webapp.cli.output import as_json_option, tell_fields, tell_json, tell_table
from webapp.cli.running import Commands, actor, confirmed
from webapp.context import NotFound, now
from webapp.queries.tokens import list_tokens
from webapp.schemas.tokens import CreatedToken, NewToken, Token, TokenList
from webapp.validation import read

tokens = Commands(
    "tokens", help="Management tokens, for automation.", missing="No token has this id. Ids look like tok_01J..."
)


@tokens.command("create")
@click.argument("name")
@options(NewToken, leave_out=["name"], names={"scopes": "--scope"})
@as_json_option
def create_command(as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Make a management token called NAME and print it, this once.

    Without --scope it may do everything but administer.
    """
    usual = [scope for scope in SCOPES if scope != ADMIN_SCOPE]
    wanted = read(NewToken, {"scopes": usual, **said(NewToken, asked)}, now=now())
    created = create_token(actor(), wanted.name, wanted.scopes, expires_at=wanted.expires_at)
    told = Token.model_validate(created.view)
    if as_json:
        tell_json(CreatedToken(**told.model_dump(), token=created.secret))
    else:
        click.echo(f"{told.id}, {told.name}, {', '.join(told.scopes)}. It is shown this once.", err=True)
        click.echo(created.secret)


@tokens.command("list")
@as_json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print all management tokens, the newest first."""
    told = [Token.model_validate(view) for view in list_tokens(actor().org_id)]
    if as_json:
        tell_json(TokenList(data=told))
        return
    head = ("ID", "STATUS", "NAME", "PREFIX", "SCOPES", "EXPIRES", "LAST USED")
    tell_table(
        head,
        [
            (token.id, _status(token), token.name, token.prefix, token.scopes, token.expires_at, token.last_used_at)
            for token in told
        ],
    )


@tokens.command("revoke")
@click.argument("token_id")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json_option
def revoke_command(token_id: str, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Revoke the management token TOKEN_ID for ever; it holds for the next call."""
    who = actor()
    found = [view for view in list_tokens(who.org_id) if view.id == token_id]
    if not found:
        raise NotFound
    confirmed(f"Revoke {found[0].name} ({found[0].prefix}...)? This cannot be undone.", yes=yes)
    told = Token.model_validate(revoke_token(who, token_id))
    if as_json:
        tell_json(told)
    else:
        tell_fields(told)


def _status(token: Token) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and token.expires_at <= now() else "active"

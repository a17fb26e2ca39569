"""`flask --app wsgi keys ...`: proxy keys."""

import sys
from typing import Any

import click

from webapp.actions.keys import create_key, revoke_key, update_key
from webapp.actions.rotation import rotate_key
from webapp.cli.fields import options, said
from webapp.cli.output import as_json_option, tell_fields, tell_json, tell_table
from webapp.cli.running import Commands, Exit, actor, confirmed, refuse
from webapp.queries.check import check_request
from webapp.queries.keys import get_key, list_keys
from webapp.schemas.explain import CheckRequest
from webapp.schemas.keys import EDITABLE, CreatedKey, Key, KeyList, KeyPatch, NewKey, Secret
from webapp.schemas.lists import KeyQuery
from webapp.schemas.rotation import RotatedKey, Rotation
from webapp.validation import read
from webapp.views.keys import KeyView

keys = Commands("keys", help="Proxy keys.", missing="No key has this id. Ids look like key_01J...")

_ONCE = "The secret is shown this once."
_REPLAYED = "An earlier command with this --idempotency-key made this key. `keys rotate` gives it another secret."


@keys.command("create")
@click.argument("name")
@options(NewKey, leave_out=["name"])
@click.option("--idempotency-key", help="The same command again within 24 hours answers with the same key.")
@as_json_option
def create_command(idempotency_key: str | None, as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Make a proxy key called NAME and print its secret, this once."""
    created = create_key(actor(), said(NewKey, asked), idempotency_key=idempotency_key)
    view = created.view
    if as_json:
        told = CreatedKey.model_validate(view)
        told.key, told.notice = created.secret, _REPLAYED if created.secret is None else None
        tell_json(told)
    elif created.secret is None:
        click.echo(f"{view.id}, {view.name}. {_REPLAYED}", err=True)
    else:
        click.echo(f"{view.id}, {view.name}. {_ONCE}", err=True)
        click.echo(created.secret)


@keys.command("list")
@options(KeyQuery)
@as_json_option
def list_command(as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Print a page of proxy keys, the newest first."""
    page = list_keys(actor().org_id, read(KeyQuery, said(KeyQuery, asked)))
    if as_json:
        data = [Key.model_validate(view) for view in page.keys]
        tell_json(KeyList(data=data, has_more=page.has_more, next_cursor=page.next_cursor, total=page.total))
        return
    head = ("ID", "STATUS", "NAME", "PREFIX", "SPENT", "LIMIT", "PERIOD", "LAST USED")
    tell_table(
        head,
        [
            (
                view.id,
                view.status,
                view.name,
                view.prefix,
                view.spend.spent_usd,
                view.spend.limit_usd,
                view.spend_reset,
                view.last_used_at,
            )
            for view in page.keys
        ],
    )
    if page.total is not None:
        click.echo(f"{page.total} in all.", err=True)
    if page.next_cursor is not None:
        click.echo(f"There are more: --cursor {page.next_cursor}", err=True)


@keys.command("show")
@click.argument("key_id")
@as_json_option
def show_command(key_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print all that is known of the key KEY_ID."""
    _tell(get_key(actor().org_id, key_id), as_json=as_json)


@keys.command("edit")
@click.argument("key_id")
@options(KeyPatch)
@click.option(
    "--unset",
    multiple=True,
    type=click.Choice([name for name in EDITABLE if name != "name"]),
    metavar="FIELD",
    help="Let a field hold nothing, such as spend_limit_usd for no limit. May be repeated.",
)
@as_json_option
def edit_command(key_id: str, unset: tuple[str, ...], as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Change what is said of the key KEY_ID, and leave the rest; it holds for the next request."""
    patch = said(KeyPatch, asked)
    if both := sorted(set(unset) & set(patch)):
        refuse(f"--unset {both[0]} and --{both[0].replace('_', '-')} contradict each other.")
    patch |= dict.fromkeys(unset)
    if not patch:
        refuse("Say what to change; `keys edit --help` lists the options.")
    _tell(update_key(actor(), key_id, patch), as_json=as_json)


@keys.command("pause")
@click.argument("key_id")
@as_json_option
def pause_command(key_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Stop the key KEY_ID for now; it holds for the next request."""
    _tell(update_key(actor(), key_id, {"paused": True}), as_json=as_json)


@keys.command("resume")
@click.argument("key_id")
@as_json_option
def resume_command(key_id: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Let the paused key KEY_ID work again; it holds for the next request."""
    _tell(update_key(actor(), key_id, {"paused": False}), as_json=as_json)


@keys.command("rotate")
@click.argument("key_id")
@options(Rotation)
@as_json_option
def rotate_command(key_id: str, as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Give the key KEY_ID a new secret and print it, this once; its limits and spend stay."""
    rotated = rotate_key(actor(), key_id, said(Rotation, asked))
    secrets = [Secret.model_validate(secret) for secret in rotated.secrets]
    if as_json:
        told = Key.model_validate(rotated.view).model_dump()
        tell_json(RotatedKey(**told, key=rotated.secret, secrets=secrets, notice=rotated.late))
    else:
        old = [secret.valid_until for secret in secrets if secret.valid_until is not None]
        until = f"Others open it until {max(old):%Y-%m-%d %H:%M:%S} UTC." if old else "No other opens it any more."
        click.echo(f"{rotated.view.id}, {rotated.view.name}. {_ONCE} {until}", err=True)
        click.echo(rotated.secret)
    if rotated.late is not None:
        click.echo(rotated.late, err=True)
        sys.exit(Exit.NOT_ANNOUNCED)


@keys.command("revoke")
@click.argument("key_id")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@as_json_option
def revoke_command(key_id: str, yes: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Revoke the key KEY_ID for ever; it holds for the next request."""
    who = actor()
    view = get_key(who.org_id, key_id)
    used = "never used" if view.last_used_at is None else f"last used {view.last_used_at:%Y-%m-%d %H:%M} UTC"
    confirmed(f"Revoke {view.name} ({view.prefix}..., {used})? This cannot be undone.", yes=yes)
    _tell(revoke_key(who, key_id), as_json=as_json)


@keys.command("check")
@click.argument("key_id")
@options(CheckRequest)
@as_json_option
def check_command(key_id: str, as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Say what would become of a request of the key KEY_ID, and charge nothing. Exit status 1: it would be refused."""
    view = check_request(actor().org_id, key_id, said(CheckRequest, asked)).as_json()
    refusal = view["refusal"]
    if as_json:
        tell_json(view)
    elif refusal is None:
        needed = "nothing" if view["needed_usd"] in (None, "0.00") else f"up to ${view['needed_usd']}"
        click.echo(f"Allowed: {view['provider']} {view['endpoint']}, {view['model'] or 'no model'}; it holds {needed}.")
    else:
        click.echo(f"Refused, {refusal['status']} {refusal['code']}: {refusal['message']}")
    sys.exit(Exit.DONE if refusal is None else Exit.NO)


def _tell(view: KeyView, *, as_json: bool) -> None:
    told = Key.model_validate(view)
    if as_json:
        tell_json(told)
    else:
        tell_fields(told)

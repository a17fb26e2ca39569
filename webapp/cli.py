"""Commands of `flask --app wsgi ...` for whoever runs the router. They act as "system" in the first organisation."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import click
from flask import Flask, current_app
from flask.cli import AppGroup, with_appcontext
from flask_migrate.cli import db as migrations
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.config import SettingError, Settings
from shared.counters_probe import check_counters
from shared.database_probe import check_database
from shared.models import ADMIN_SCOPE, ROLES, SCOPES
from shared.pricing import table
from webapp.actions.credentials import lost_words, reseal_credentials
from webapp.actions.login import fold_email
from webapp.actions.prices import forget_price, set_price
from webapp.actions.tokens import create_token
from webapp.actions.users import activate_user, create_user, deactivate_user, reset_password
from webapp.blame import blaming
from webapp.context import Actor, Conflict, NotFound
from webapp.database_copy import CopyRefused, copy_from
from webapp.first_start import BootstrapReport, SchemaError, first_actor, prepare
from webapp.ledger_import import import_journals
from webapp.queries.check import check_request
from webapp.queries.prices import own_prices
from webapp.queries.users import list_users
from webapp.schemas.explain import CheckRequest
from webapp.validation import Invalid, read
from webapp.verification.command import ledger
from webapp.views.prices import PriceView

credentials = AppGroup("credentials", help="Provider credentials, which are kept sealed.")
tokens = AppGroup("tokens", help="Management tokens, for automation.")
users = AppGroup("users", help="Members of staff.")
keys = AppGroup("keys", help="Proxy keys.")
prices = AppGroup("prices", help="The organisation's own prices, which beat the price table's.")


def init_app(app: Flask) -> None:
    """Register the commands."""
    ledger.add_command(import_command)
    for command in (bootstrap, credentials, tokens, users, keys, prices, ledger):
        app.cli.add_command(command)
    # A group of Flask-Migrate's, which the `flask` command finds by itself: `upgrade` stands in it, and this beside it.
    migrations.add_command(copy_from_command)


@click.command("bootstrap")
@with_appcontext
def bootstrap() -> None:
    """Bring the database up to date and make what a first start needs; a second time changes nothing."""
    with _telling() as settings:
        check_database(settings)
        check_counters(settings)
        report = prepare(current_app)
    for line in lines_of(report):
        click.echo(line)


@credentials.command("reseal")
def reseal_command() -> None:
    """Seal all credentials with the first key of ROUTER_ENCRYPTION_KEY, so that the others can be dropped."""
    _actor()
    done = _try(reseal_credentials)
    click.echo(f"{done.resealed} credentials are sealed with the first key now.")
    if done.lost:
        _fail(lost_words(done.lost))


@tokens.command("create")
@click.argument("name")
@click.option(
    "--scope", "scopes", multiple=True, help=f"One of {', '.join(SCOPES)}; may be repeated. All but admin by default."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create_token_command(name: str, scopes: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Make a management token and print it, this once."""
    created = _try(create_token, _actor(), name, scopes or [scope for scope in SCOPES if scope != ADMIN_SCOPE])
    view = created.view
    facts = {"id": view.id, "name": view.name, "scopes": list(view.scopes), "token": created.secret}
    click.echo(json.dumps(facts) if as_json else created.secret)


@users.command("create")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), default="member", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def create_user_command(email: str, role: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Add a member of staff and print the password that was made up, this once."""
    created = _try(create_user, _actor(), email, role)
    facts = {"id": created.user_id, "email": created.email, "role": created.role, "password": created.password}
    click.echo(json.dumps(facts) if as_json else f"{created.email} ({created.role}), password: {created.password}")


@keys.command("check")
@click.argument("key_id")
@click.option("--ip", help="The client's address; needed where the key may be used from some only.")
@click.option("--provider", help="Told by the path or the model where it is absent.")
@click.option("--model")
@click.option("--path", help="The provider's own, such as /v1/messages; its chat where it is absent.")
@click.option("--max-tokens", type=int, help="The output limit of the request.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check_key_command(key_id: str, as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Say what would become of a request of the key KEY_ID, and charge nothing. Exit status 1: it would be refused."""
    org_id = _actor().org_id
    try:
        view = _try(lambda: check_request(org_id, key_id, read(CheckRequest, asked))).as_json()
    except NotFound:
        # What was given is not repeated: somebody may have pasted the key itself.
        _fail("No key has this id. Ids look like key_01J...")
    refusal = view["refusal"]
    if as_json:
        click.echo(json.dumps(view))
    elif refusal is None:
        needed = "nothing" if view["needed_usd"] in (None, "0.00") else f"up to ${view['needed_usd']}"
        click.echo(f"Allowed: {view['provider']} {view['endpoint']}, {view['model'] or 'no model'}; it holds {needed}.")
    else:
        click.echo(f"Refused, {refusal['status']} {refusal['code']}: {refusal['message']}")
    sys.exit(refusal is not None)


@users.command("deactivate")
@click.argument("email")
def deactivate_user_command(email: str) -> None:
    """Shut a member out: their sessions and the management tokens that they made end at once."""
    actor = _actor()
    click.echo(f"{_try(deactivate_user, actor, _user_id(actor, email)).email} is deactivated.")


@users.command("activate")
@click.argument("email")
def activate_user_command(email: str) -> None:
    """Let a member log in again, with the password they had."""
    actor = _actor()
    click.echo(f"{_try(activate_user, actor, _user_id(actor, email)).email} may log in again.")


@users.command("password")
@click.argument("email")
def reset_password_command(email: str) -> None:
    """Make up a new password for a member, print it, this once, and end their sessions."""
    actor = _actor()
    created = _try(reset_password, actor, _user_id(actor, email))
    click.echo(f"{created.email}, password: {created.password}")


def _user_id(actor: Actor, email: str) -> str:
    wanted = fold_email(email)
    found = [view.id for view in _try(list_users, actor.org_id) if view.email == wanted]
    if not found:
        _fail("There is no member with this email.")
    return str(found[0])


@click.command("import")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and import nothing.")
@with_appcontext
def import_command(directory: Path, dry_run: bool) -> None:  # noqa: FBT001 - click's way
    """Import the journals of a machine that will not come back, from a copy of its data directory, DIR."""
    with _telling() as settings:
        check_database(settings)
    sys.exit(import_journals(directory.absolute(), settings, os.environ, dry_run=dry_run))


@prices.command("set")
@click.argument("provider")
@click.argument("model")
@click.argument("rates", nargs=-1, required=True, metavar="CLASS=DOLLARS...")
def set_price_command(provider: str, model: str, rates: tuple[str, ...]) -> None:
    """Price a model: dollars a million tokens, an hour of sound or a thousand calls, input_tokens=1.25.

    It holds for the next request, for bounds and costs, and takes the place of all token prices of the model.
    """
    told = {key: dollars for key, _, dollars in (rate.partition("=") for rate in rates)}
    view = _try(set_price, _actor(), provider, model, told)
    click.echo(f"{view.provider} {view.model}: {_told(view)}")


@prices.command("unset")
@click.argument("provider")
@click.argument("model")
def unset_price_command(provider: str, model: str) -> None:
    """Go by the price table again."""
    try:
        _try(forget_price, _actor(), provider, model)
    except NotFound:
        _fail(f"There is no price of one's own for {model} of {provider}.")


@prices.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def list_prices_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print the organisation's own prices."""
    views = _try(own_prices, _actor().org_id)
    if as_json:
        shown = [{"id": v.id, "provider": v.provider, "model": v.model, "rates": v.rates} for v in views]
        click.echo(json.dumps({"data": shown, "table_version": table.version()}))
        return
    for view in views:
        click.echo(f"{view.provider} {view.model}: {_told(view)}")
    click.echo(f"All others are those of the price table, version {table.version()}.")


def _told(view: PriceView) -> str:
    return ", ".join(f"{key} ${dollars}" for key, dollars in view.rates.items())


@click.command("copy-from")
@click.argument("url")
@with_appcontext
def copy_from_command(url: str) -> None:
    """Copy the SQLite database at URL (sqlite:////path/router.db) into the empty, upgraded one of DATABASE_URL."""
    with _telling() as settings:
        try:
            done = copy_from(
                url,
                settings,
                Path(current_app.extensions["migrate"].directory),
                lambda table, count: click.echo(f"{table}: {count} rows"),
            )
        except CopyRefused as error:
            click.echo(str(error), err=True)
            sys.exit(2)
    for line in done.lines():
        click.echo(line)


def lines_of(report: BootstrapReport) -> list[str]:
    """A report for people; secrets that were made up just now stand in it, this once."""
    lines = [f"Administrator: {report.admin_email}"]
    if report.admin_password is not None:
        lines.append(f"Password, shown this once: {report.admin_password}")
    if report.management_token is not None:
        lines.append(f"Management token, shown this once: {report.management_token}")
    if report.demo_key is not None:
        lines.append(f"Demo proxy key, shown this once: {report.demo_key}")
    elif report.demo_key_prefix is not None:
        lines.append(f"A proxy key is in place: {report.demo_key_prefix}...")
    if report.lost_credentials:
        lines.append(lost_words(report.lost_credentials))
    lines.append(f"Provider credentials: {', '.join(report.providers) or 'none'}")
    return lines


def _actor() -> Actor:
    with _telling() as settings:
        check_database(settings)
        check_counters(settings)
        try:
            actor = first_actor()
        except ProgrammingError:
            actor = None  # PostgreSQL has no such table yet
        except OperationalError as error:
            if "no such table" not in str(error):
                raise
            actor = None  # nor has SQLite
    if actor is None:
        _fail("There is no organisation yet. Run `flask --app wsgi bootstrap` first.")
    return actor


@contextmanager
def _telling() -> Iterator[Settings]:
    """What the environment is to blame for: a sentence that names the variable, and exit status 2, as at `make run`."""
    settings: Settings = current_app.extensions["settings"]
    try:
        with blaming(settings):
            yield settings
    except (SettingError, SchemaError) as error:
        click.echo(str(error), err=True)
        sys.exit(2)


def _try(action: Any, *values: Any) -> Any:
    with _telling():
        try:
            return action(*values)
        except Invalid as error:
            _fail("\n".join(f"{wrong.field} {wrong.message}" for wrong in error.errors))
        except Conflict as error:
            _fail(error.message)


def _fail(message: str) -> NoReturn:
    raise click.ClickException(message)

"""Commands that begin an installation, move it, or bring home what another machine left."""

import os
import sys
from pathlib import Path

import click
from flask import current_app
from flask.cli import with_appcontext

from shared.counters_probe import check_counters
from shared.database_probe import check_database
from webapp.actions.credentials import reseal_credentials
from webapp.cli.output import as_json_option, tell_json
from webapp.cli.running import Commands, Exit, actor, refuse, refuse_absent, told
from webapp.command_faults import DiscreetCommand
from webapp.database_copy import CopyRefused, copy_from
from webapp.first_start import BootstrapReport, prepare
from webapp.ledger_import import import_journals
from webapp.views.providers import lost_words

credentials = Commands("credentials", help="Provider credentials, which are kept sealed.")


@click.command("bootstrap", cls=DiscreetCommand)
@with_appcontext
def bootstrap() -> None:
    """Bring the database up to date and make what a first start needs; a second time changes nothing."""
    with told() as settings:
        check_database(settings)
        check_counters(settings)
        report = prepare(current_app)
    for line in lines_of(report):
        click.echo(line)


@credentials.command("reseal")
@as_json_option
def reseal_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Seal all credentials with the first key of ROUTER_ENCRYPTION_KEY, so that the others can be dropped."""
    actor()
    done = reseal_credentials()
    if as_json:
        tell_json({"resealed": done.resealed, "lost": done.lost})
    else:
        click.echo(f"{done.resealed} credentials are sealed with the first key now.")
    if done.lost:
        click.echo(lost_words(done.lost), err=True)
        sys.exit(Exit.NO)


@click.command("import", cls=DiscreetCommand)
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what would be imported, and import nothing.")
@with_appcontext
def import_command(directory: Path, dry_run: bool) -> None:  # noqa: FBT001 - click's way
    """Import the journals of a machine that will not come back, from a copy of its data directory, DIR."""
    with told() as settings:
        check_database(settings)
        refuse_absent(settings)
    sys.exit(import_journals(directory.absolute(), settings, os.environ, dry_run=dry_run))


@click.command("copy-from", cls=DiscreetCommand)
@click.argument("url")
@with_appcontext
def copy_from_command(url: str) -> None:
    """Copy the SQLite database at URL (sqlite:////path/router.db) into the empty, upgraded one of DATABASE_URL."""
    with told() as settings:
        try:
            done = copy_from(
                url,
                settings,
                Path(current_app.extensions["migrate"].directory),
                lambda table, count: click.echo(f"{table}: {count} rows"),
            )
        except CopyRefused as error:
            refuse(str(error))
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

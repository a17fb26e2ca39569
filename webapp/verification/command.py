"""`flask --app wsgi ledger verify`.

Exit status 0: all agrees. 1: something differs. 2: nothing was found to differ, but not everything could be checked.
"""

import json
import sys
from dataclasses import asdict
from typing import NoReturn

import click
from flask import current_app
from flask.cli import with_appcontext
from sqlalchemy.exc import SQLAlchemyError

from shared.database_probe import is_absent, shown_url
from webapp.command_faults import DiscreetGroup
from webapp.context import counters
from webapp.db import db
from webapp.verification.counted import CounterCheck
from webapp.verification.ledger import OneKey, ranges, verify_range
from webapp.verification.organizations import verify_organizations
from webapp.verification.values import Report

COULD_NOT = 2

ledger = DiscreetGroup("ledger", help="The ledger: what every request has cost.")


@ledger.command("verify")
@click.option("--key", "key_id", metavar="ID", help="Only this key (key_...).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@with_appcontext
def verify(key_id: str | None, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Recompute rows, daily sums, totals and counters, and name what differs. Changes nothing; the router may run."""
    url = current_app.extensions["settings"].database_url
    if is_absent(url):
        _could_not(f"DATABASE_URL: there is no {shown_url(url)} yet.")
    try:
        report = verify_ledger(key_id)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        _could_not(f"The database cannot be read: {reason}")
    if key_id is not None and not report.keys and not report.rows:
        # What was given is not repeated: somebody may have pasted the key itself.
        _could_not("--key: no key has this id, and nothing in the ledger does. Ids look like key_01J...")
    if as_json:
        click.echo(json.dumps({**asdict(report), "agrees": not report.difference_count}))
    else:
        for line in report.lines():
            click.echo(line)
    sys.exit(report.exit_code)


def verify_ledger(key_id: str | None = None) -> Report:
    """Verify everything, or one key. Raises SQLAlchemyError; counters that do not answer are noted in the report."""
    report = Report()
    check = CounterCheck(db.engine, counters(), report)
    for within in ranges(db.engine) if key_id is None else [OneKey(key_id)]:
        check.look(within, verify_range(db.engine, within, report))
        check.look_at_models(within)
    if key_id is None:
        verify_organizations(db.engine, report)
        check.look_together()
    check.finish()
    return report


def _could_not(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(COULD_NOT)

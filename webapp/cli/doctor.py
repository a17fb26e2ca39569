"""`flask --app wsgi doctor`: what is wrong with this installation, if anything is."""

import os
import sys
from collections.abc import Iterator
from dataclasses import asdict

import click
from flask import current_app
from flask.cli import with_appcontext

from shared.config import Settings
from webapp.cli.output import as_json_option, tell_json
from webapp.cli.running import Exit, told
from webapp.command_faults import DiscreetCommand
from webapp.context import now
from webapp.doctor import (
    Finding,
    look_at_clock,
    look_at_counters,
    look_at_data_directory,
    look_at_database,
    look_at_programs,
    look_at_providers,
    look_at_settings,
    look_at_sign_in,
    look_at_time_zones,
)
from webapp.doctor_addresses import look_at_addresses
from webapp.doctor_ledger import look_at_ledger, look_at_metrics
from webapp.first_start import first_actor
from webapp.queries.connection import outcomes_of
from webapp.queries.providers import list_providers

_MARKS = {"ok": "ok     ", "warning": "WARNING", "fault": "FAULT  "}


@click.command("doctor", cls=DiscreetCommand)
@click.option("--offline", is_flag=True, help="Ask no provider, and no address of this router in front of it.")
@as_json_option
@with_appcontext
def doctor(offline: bool, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Look at all that a router needs, from settings to providers, and say what to do. Exit status 1: a fault."""
    with told() as settings:
        findings = []
        for finding in look(settings, offline=offline):
            findings.append(finding)
            if not as_json:  # each as soon as it is known: some wait for servers
                click.echo(f"{_MARKS[finding.state]}  {finding.check}: {finding.message}")
    well = all(finding.state != "fault" for finding in findings)
    if as_json:
        tell_json({"ok": well, "findings": [asdict(finding) for finding in findings]})
    sys.exit(Exit.DONE if well else Exit.NO)


def look(settings: Settings, *, offline: bool) -> Iterator[Finding]:
    """All checks, in the order in which one fault explains the next."""
    yield from look_at_settings(settings, os.environ)
    yield from look_at_data_directory(settings)
    database = list(look_at_database(settings))
    yield from database
    yield from look_at_counters(settings)
    yield from look_at_programs(settings)
    yield from look_at_metrics(settings)
    yield from look_at_addresses(settings, now(), offline=offline)
    if any(finding.state == "fault" for finding in database):
        return  # the rest stands in it
    yield from look_at_time_zones()
    yield from look_at_ledger(settings)
    found = first_actor()
    outcomes = {}
    if found is not None and not offline:
        outcomes = outcomes_of(found.org_id, list_providers(found.org_id))
    if not offline:
        yield from look_at_providers(outcomes)
        yield from look_at_sign_in(current_app.extensions["oidc"])
    yield from look_at_clock(now(), outcomes)

"""`flask --app wsgi usage`: what was used, and what it cost."""

from typing import Any

import click
from flask.cli import with_appcontext

from webapp.api.usage import answer_of
from webapp.cli.fields import options, said
from webapp.cli.output import tell_table
from webapp.cli.running import actor, refuse, told
from webapp.command_faults import DiscreetCommand
from webapp.context import now
from webapp.queries.usage import usage_of_key, usage_of_organization
from webapp.schemas.lists import FORMS, UsageQuery
from webapp.validation import read
from webapp.views.calendar import zone_of

_NO_KEY = "No key has this id. Ids look like key_01J..."


@click.command("usage", cls=DiscreetCommand)
@options(UsageQuery, leave_out=["format"])
@click.option("--key", "key_id", metavar="KEY_ID", help="Only what this key used.")
@click.option("--format", "form", type=click.Choice(("text", *FORMS)), show_default="text")
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@with_appcontext
@told(_NO_KEY)
def usage(key_id: str | None, form: str | None, as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Print what all proxy keys used, in days of the organisation's time zone; the last 30 by default."""
    if as_json and form not in (None, "json"):
        refuse(f"--json and --format {form} contradict each other.")
    form = "json" if as_json else form or "text"
    document = {**said(UsageQuery, asked), "format": "csv" if form == "csv" else "json"}
    org_id = actor().org_id
    query = read(UsageQuery, document, now=now(), zone=zone_of(org_id))
    if key_id is None:
        found = usage_of_organization(org_id, *query.days, query.group_by)
    else:
        found = usage_of_key(org_id, key_id, *query.days, query.group_by)
    if form != "text":
        click.echo(answer_of(found, query).get_data(as_text=True), nl=form == "json")
        return
    lines = [(line.group, line.requests, line.input_tokens, line.output_tokens, line.cost_usd) for line in found.lines]
    total = found.total
    lines.append(("total", total.requests, total.input_tokens, total.output_tokens, total.cost_usd))
    tell_table((found.group_by.upper(), "REQUESTS", "INPUT TOKENS", "OUTPUT TOKENS", "COST USD"), lines)

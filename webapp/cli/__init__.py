"""Commands of `flask --app wsgi ...` for whoever runs the router. They act in the first organisation.

Law of this package: a command hands what was said to the same actions, queries and models as pages and API, and tells
what they answer: in lines for people, and with `--json` in the objects of the management API. Faults are sentences on
standard error, and each kind has its exit status (`Exit`). docs/command-line.md has all of it, and a test compares.
"""

from flask import Flask
from flask_migrate.cli import db as migrations

from webapp.cli.doctor import doctor
from webapp.cli.keys import keys
from webapp.cli.prices import prices
from webapp.cli.providers import providers
from webapp.cli.setup import bootstrap, copy_from_command, credentials, import_command
from webapp.cli.tokens import tokens
from webapp.cli.usage import usage
from webapp.cli.users import users
from webapp.verification.command import ledger


def init_app(app: Flask) -> None:
    """Register the commands."""
    ledger.add_command(import_command)
    for command in (bootstrap, credentials, doctor, keys, ledger, prices, providers, tokens, usage, users):
        app.cli.add_command(command)
    # A group of Flask-Migrate's, which the `flask` command finds by itself: `upgrade` stands in it, and this beside it.
    migrations.add_command(copy_from_command)

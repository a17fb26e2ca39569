"""What all commands stand on: who acts, and how faults are told, each with its exit status."""

import os
import pwd
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import IntEnum
from typing import Any, NoReturn

import click
from flask import current_app
from sqlalchemy.exc import OperationalError, ProgrammingError

from shared.config import SettingError, Settings
from shared.counters_probe import check_counters
from shared.database_probe import check_database, is_absent, shown_url
from shared.secret_text import masked
from webapp.actions.policy import NotInForce
from webapp.blame import blaming
from webapp.command_faults import DiscreetGroup
from webapp.context import Actor, Conflict, NotFound
from webapp.first_start import SchemaError, first_actor
from webapp.validation import FieldError, Invalid

_LONGEST_ACTOR = 254


class Exit(IntEnum):
    """The exit status of a command."""

    DONE = 0
    NO = 1  # what was asked about is not so: it would be refused, is at fault, differs; or somebody answered no
    NOTHING_DONE = 2  # a command line, a value, an id or a setting cannot be taken, and nothing was changed
    NOT_ANNOUNCED = 3  # the change is saved, and the proxies could not be told yet


class Commands(DiscreetGroup):
    """A group of commands whose faults are told as `told` does."""

    def __init__(self, name: str, *, help: str, missing: str = "") -> None:  # noqa: A002 - click's word
        super().__init__(name, help=help)
        self._missing = missing

    def command(self, *arguments: Any, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:  # type: ignore[override] # as Flask's own
        register = super().command(*arguments, **options)
        return lambda function: register(told(self._missing)(function))


@contextmanager
def told(missing: str = "") -> Iterator[Settings]:
    """Tell a fault in a sentence on standard error, and end with its status. `missing` is said where NotFound is."""
    settings: Settings = current_app.extensions["settings"]
    left: BrokenPipeError | None = None
    try:
        with blaming(settings):
            try:
                yield settings
            except BrokenPipeError as error:
                left = error  # whoever read our output has enough of it, as `head` has: that is no fault of a setting
    except Invalid as error:
        refuse("\n".join(_sentence(fault) for fault in error.errors))
    except NotFound:
        # What was given is not repeated: somebody may have pasted a secret.
        refuse(missing or "There is no such thing in this organisation.")
    except Conflict as error:
        refuse(error.message)
    except NotInForce as error:
        click.echo(str(error), err=True)
        sys.exit(Exit.NOT_ANNOUNCED)
    except (SettingError, SchemaError) as error:
        refuse(str(error))
    if left is not None:
        raise left  # click knows what to do


def refuse(message: str) -> NoReturn:
    """End, with nothing changed."""
    click.echo(masked(message), err=True)
    sys.exit(Exit.NOTHING_DONE)


def actor() -> Actor:
    """Whoever runs the command, in the first organisation; the database and the counters were found to answer."""
    settings: Settings = current_app.extensions["settings"]
    check_database(settings)
    check_counters(settings)
    refuse_absent(settings)
    try:
        found = first_actor()
    except ProgrammingError:
        found = None  # PostgreSQL has no such table yet
    except OperationalError as error:
        if "no such table" not in str(error):
            raise
        found = None  # nor has SQLite
    if found is None:
        _refuse_empty(settings)
    return replace(found, name=f"command line ({_user()})"[:_LONGEST_ACTOR])


def refuse_absent(settings: Settings) -> None:
    """End where the database is a file that is not there.

    Whoever forgot the file in which DATABASE_URL stands would look into the default, and shall neither make nor fill
    that one.
    """
    if is_absent(settings.database_url):
        _refuse_empty(settings)


def _refuse_empty(settings: Settings) -> NoReturn:
    place = shown_url(settings.database_url)
    refuse(f"DATABASE_URL: there is no organisation in {place} yet. Run `flask --app wsgi bootstrap` first.")


def confirmed(question: str, *, yes: bool) -> None:
    """Go on, or end with nothing changed; `yes` is the answer that was given beforehand."""
    if not yes:
        click.confirm(question, abort=True, err=True)


def _user() -> str:
    """The user of this process, and who became it by sudo, as far as sudo's word goes."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = f"user {os.getuid()}"
    before = os.environ.get("SUDO_USER", "")
    return f"{before} as {name}" if before not in ("", name) and before.isprintable() else name


def _sentence(fault: FieldError) -> str:
    """A fault with the option or argument before it that the field was given by; a part of one is told by its field."""
    context = click.get_current_context(silent=True)
    if context is not None and "credential_file" in context.params and fault.field == "credential":
        given = "The credential" if context.params["credential_file"] is None else "--credential-file"
        return f"{given} {fault.message}"
    wanted = fault.field.lower().replace("-", "_")  # headers are options as well
    for parameter in context.command.params if context is not None else ():
        if parameter.name is not None and parameter.name.rstrip("_") == wanted:
            named = parameter.opts[0] if isinstance(parameter, click.Option) else parameter.metavar or wanted.upper()
            return f"{named} {fault.message}"
    return f"{fault.field} {fault.message}".strip()

"""docs/command-line.md tells each command, each option and each exit status, and its examples work."""

import re
import shlex
from pathlib import Path

import click
import pytest
from cli_kit import Command, leaves
from flask import Flask

from webapp.cli.fields import FieldOption
from webapp.cli.running import Exit

PAGE = (Path(__file__).parent.parent.parent / "docs" / "command-line.md").read_text(encoding="utf-8")
ROWS = {
    code: (cells[0], cells[1])
    for code, *cells in (
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in PAGE.splitlines()
        if re.match(r"\| `[a-z]", line)
    )
}


@pytest.fixture
def commands(app: Flask) -> dict[str, click.Command]:
    """By its words and arguments, as the page has them."""
    found = {}
    for words, command in leaves(app.cli):
        context = click.Context(command)
        arguments = [one.make_metavar(context) for one in command.params if isinstance(one, click.Argument)]
        found[" ".join((words, *arguments))] = command
    return {name.replace("db upgrade [REVISION]", "db upgrade"): command for name, command in found.items()}


def test_it_works(commands: dict[str, click.Command]) -> None:
    assert len(commands) > 30
    assert {f"`{name}`" for name in commands} == set(ROWS)


def test_each_option_is_told_and_no_other(commands: dict[str, click.Command]) -> None:
    for name, command in commands.items():
        told = ROWS[f"`{name}`"][0]
        options = [one for one in command.params if isinstance(one, click.Option)]
        if name == "db upgrade":
            continue
        fields = {one.opts[0] for one in options if isinstance(one, FieldOption)}
        own = {one.opts[0] for one in options} - fields
        named = set(re.findall(r"`(--[a-z-]+)`", told))
        assert own <= named <= own | fields, name
        assert bool(fields) == ("field" in told), name
        assert "each" in told or fields <= named, name


def test_each_command_says_what_it_is(commands: dict[str, click.Command]) -> None:
    for name, command in commands.items():
        assert (command.help or command.short_help or "").strip(), name
        assert all(one.help for one in command.params if isinstance(one, click.Option) and one.name == "as_json")


def test_each_exit_status_is_told() -> None:
    told = dict(re.findall(r"^\| `(\d)` \| `([A-Z_]+)` \|", PAGE, re.MULTILINE))
    assert told == {str(status.value): status.name for status in Exit}


EXAMPLES = [
    line.removeprefix("flask --app wsgi ")
    for block in re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("flask --app wsgi ")
]


def test_the_examples_work(command: Command) -> None:
    assert len(EXAMPLES) >= 6
    key_id = command.json("keys create mine")["id"]
    for example in EXAMPLES:
        done = command.run(args=shlex.split(example.replace("$KEY_ID", key_id)))
        # In a dry run on a fresh router a provider has no credential.
        assert done.exit_code == (Exit.NO if example.startswith("keys check") else Exit.DONE), (example, done.output)

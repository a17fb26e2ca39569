"""`flask --app wsgi ...` as a shell sees it: words in, lines and an exit status out."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import click
import pytest
from click.testing import Result
from flask import Flask

# Of others, and explained by them.
FOREIGN = {"run", "shell", "routes"}
OF_DB = {"upgrade", "copy-from"}


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """All commands of ours, each by its words."""
    for name, command in group.commands.items():
        words = f"{before}{name}"
        if isinstance(command, click.Group):
            yield from leaves(command, f"{words} ")
        elif words not in FOREIGN and (before != "db " or name in OF_DB):
            yield words, command


class Command:
    """Runs commands on an app. Whatever ends with another status than was expected fails the test."""

    def __init__(self, app: Flask) -> None:
        self.run: Callable[..., Result] = app.test_cli_runner().invoke

    def __call__(self, line: str, *words: str, code: int = 0, given: str | bytes | None = None) -> Result:
        """`line` is split at its spaces, `words` are not; `given` is on standard input."""
        done = self.run(args=[*line.split(), *words], input=given)
        assert done.exit_code == code, (done.output, done.exception)
        return done

    def json(self, line: str, *words: str, code: int = 0, given: str | None = None) -> dict[str, Any]:
        """The object that a command prints. Nothing else stands on standard output, but what was typed there."""
        *typed, told = self(f"{line} --json", *words, code=code, given=given).stdout.splitlines()
        assert typed in ([], [(given or "").strip()])
        found: dict[str, Any] = json.loads(told)
        return found

    def fault(self, line: str, *words: str, given: str | None = None) -> str:
        """What is said on standard error where nothing was done."""
        done = self(line, *words, code=2, given=given)
        assert done.stdout == ""
        return done.stderr


@pytest.fixture
def command(app: Flask) -> Command:
    return Command(app)

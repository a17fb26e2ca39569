"""A secret that was given as an argument is repeated by no command, wherever it stands."""

from collections.abc import Iterator

import click
import pytest
from cli_kit import Command, leaves
from flask import Flask

from shared import keys

SECRETS = {
    "ours": keys.mint(keys.PROXY_TAG).raw,
    "a token": keys.mint(keys.MANAGEMENT_TAG).raw,
    "a provider's": "sk-proj-abcdefghijKLMNOPQRST1234567890uvwxyzABCDEFGH",
}
NO_SHAPE = "correct-horse-battery-staple"  # of a server of one's own
ENDS = len("sk-proxy-a1b2")  # so much is shown everywhere


def lines(app: Flask) -> Iterator[tuple[list[str], click.Command]]:
    """Each command of ours, with as many words as it takes."""
    for words, command in leaves(app.cli):
        if words != "db upgrade":  # of Flask-Migrate
            arguments = [one for one in command.params if isinstance(one, click.Argument)]
            yield [*words.split(), *("x" for _ in arguments)], command


@pytest.mark.parametrize("secret", SECRETS)
def test_it_works(command: Command, app: Flask, secret: str) -> None:
    """Behind the arguments, as an option, and as the value of one."""
    given = SECRETS[secret]
    tried = 0
    for line, one in lines(app):
        options = [option.opts[0] for option in one.params if isinstance(option, click.Option) and not option.is_flag]
        ends = [[f"--{given}"], ["--unheard-of", given], *([f"{option}={given}"] for option in options)]
        if not any(isinstance(argument, click.Argument) and argument.nargs == -1 for argument in one.params):
            ends.append([given])
        for end in ends:
            done = command.run(args=[*line, *end])
            assert given[ENDS:] not in done.output, (line, end[0].partition("=")[0])
            assert done.exit_code == 2 or end[-1].startswith("--"), (line, end[0].partition("=")[0], done.output)
            tried += 1
    assert tried > 100


@pytest.mark.parametrize("secret", SECRETS)
def test_in_the_place_of_an_argument_or_a_command(command: Command, app: Flask, secret: str) -> None:
    given = SECRETS[secret]
    for line, _ in lines(app):
        if line[:2] != ["ledger", "import"]:  # whose argument is a directory
            done = command.run(args=[given if word == "x" else word for word in line], input="")
            assert given[ENDS:] not in done.output, line[:2]
        if line[0] != "db":  # of Flask-Migrate
            assert given[ENDS:] not in command.fault(line[0], given), line[0]


def test_an_argument_too_many_is_not_repeated_whatever_it_is(command: Command) -> None:
    told = command.fault("providers set openai", NO_SHAPE)
    assert NO_SHAPE not in told
    assert "Got an argument too many" in told
    assert "Usage: " in told
    assert "Got 2 arguments too many" in command.fault("usage", NO_SHAPE, NO_SHAPE)


def test_what_is_no_secret_is_told(command: Command) -> None:
    assert "No such option '--nam'" in command.fault("keys create x --nam y")
    assert "No such command 'crate'" in command.fault("keys crate")
    assert "create" in command("keys", code=2).output, "the help"

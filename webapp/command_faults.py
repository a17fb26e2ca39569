"""Commands whose faults repeat no secret that somebody gave as an argument. `click` repeats whatever it cannot take."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from click.exceptions import NoArgsIsHelpError
from flask.cli import AppGroup

from shared.secret_text import masked


class DiscreetCommand(click.Command):
    """A command. An argument too many is not repeated at all: a credential need not look like one."""

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _masking():
            return super().make_context(*arguments, **extra)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_extra_args = True  # else click refuses them, with all that stands in them
        left = super().parse_args(ctx, args)
        if left and not ctx.resilient_parsing:
            many = "an argument" if len(left) == 1 else f"{len(left)} arguments"
            ctx.fail(f"Got {many} too many. What they say is not repeated, as it may be a secret.")
        return left


class DiscreetGroup(AppGroup):
    """A group of such commands."""

    command_class = DiscreetCommand

    def make_context(self, *arguments: Any, **extra: Any) -> click.Context:
        with _masking():
            return super().make_context(*arguments, **extra)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        with _masking():
            return super().resolve_command(ctx, args)


@contextmanager
def _masking() -> Iterator[None]:
    try:
        yield
    except NoArgsIsHelpError:
        raise  # whose text is the help
    except click.UsageError as error:
        raise click.UsageError(masked(error.format_message()), error.ctx) from None

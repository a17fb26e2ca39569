"""How commands tell what they found: one JSON object, or lines for people."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import click
from pydantic import BaseModel

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, as the management API answers."
)


def tell_json(told: BaseModel | Mapping[str, Any]) -> None:
    """Print a model or a mapping as one line of JSON."""
    document = told.model_dump(mode="json", by_alias=True) if isinstance(told, BaseModel) else told
    click.echo(json.dumps(document))


def tell_fields(model: BaseModel) -> None:
    """Print a model's fields, one a line; what stands within another is told with a dot."""
    lines = list(_fields("", model.model_dump(mode="json", by_alias=True)))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        click.echo(f"{name:<{width}}  {value}")


def tell_table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows below their head, in columns."""
    lines = [head, *([cell(value) for value in row] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    for line in lines:
        click.echo("  ".join(f"{text:<{width}}" for text, width in zip(line, widths, strict=True)).rstrip())


def cell(value: object) -> str:
    """A value as it stands in a line: nothing is a dash, a moment has no more than seconds."""
    if value is None or value in ("", [], ()):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _fields(before: str, document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _fields(f"{before}{name}.", value)
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            for place, entry in enumerate(value):
                yield from _fields(f"{before}{name}[{place}].", entry)
        else:
            yield f"{before}{name}", cell(value)

"""Options of commands, made of the models that judge what is said.

So a field that a model gets is an option at once, under its own name, and means the same as in JSON.
"""

import keyword
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple

import click
from pydantic import BaseModel

from webapp.schemas.values import number_in

Function = Callable[..., Any]
NO_NAMES: Mapping[str, str] = {}


class ShortForm(NamedTuple):
    """How an entry of a list that has fields of its own is written on a command line."""

    example: str
    read: Callable[[str], object]


def _model_limit(text: str) -> object:
    """From `gpt-4o*=5/daily`; what is missing or wrong the model says."""
    pattern, _, amount = text.partition("=")
    dollars, _, reset = amount.partition("/")
    return {"model": pattern.strip(), "spend_limit_usd": dollars.strip(), "spend_reset": reset.strip() or None}


SHORT_FORMS: Mapping[str, ShortForm] = {"model_limits": ShortForm("gpt-4o*=5/daily", _model_limit)}


class FieldOption(click.Option):
    """An option that is a field of a model: what it takes stands where the model is told of."""


def options(
    model: type[BaseModel], *, leave_out: Collection[str] = (), names: Mapping[str, str] = NO_NAMES
) -> Callable[[Function], Function]:
    """An option for each field. `names` are those of options that are not called as their fields are."""

    def add(function: Function) -> Function:
        for name, schema in reversed(_properties(model).items()):
            if name not in leave_out:
                function = _option(name, schema, names.get(name))(function)
        return function

    return add


def said(model: type[BaseModel], values: Mapping[str, Any]) -> dict[str, object]:
    """What was said on the command line, as the document that the model reads. What was not said is not in it."""
    document: dict[str, object] = {}
    for name, schema in _properties(model).items():
        value = values.get(_parameter(name))
        if value is None or value == ():
            continue
        kinds = _kinds(schema)
        if "array" in kinds:
            value = [entry.strip() for text in value for entry in text.split(",")]
            if name in SHORT_FORMS:
                value = [SHORT_FORMS[name].read(entry) for entry in value]
        elif kinds == {"integer"}:
            value = number_in(value)
        document[name] = value
    return document


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = model.model_json_schema()["properties"]
    return properties


def _option(name: str, schema: Mapping[str, Any], called: str | None) -> Callable[[Function], Function]:
    flag, kinds = called or f"--{name.replace('_', '-')}", _kinds(schema)
    told = schema.get("description", "").replace("`", "")
    if "boolean" in kinds:
        return click.option(f"{flag}/--no-{flag[2:]}", _parameter(name), cls=FieldOption, default=None, help=told)
    choices = "|".join(choice for choice in _choices(schema) if not choice.startswith("-"))
    metavar = choices or ("NUMBER" if kinds == {"integer"} else "TEXT")
    if name in SHORT_FORMS:
        told, metavar = f"{told} Such as {SHORT_FORMS[name].example}.", "TEXT"
    if "array" in kinds:
        told = f"{told} May be repeated, or hold several with commas.".strip()
    several = "array" in kinds
    return click.option(flag, _parameter(name), cls=FieldOption, multiple=several, metavar=metavar, help=told)


def _parameter(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name


def _branches(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema itself, or everything that it may be instead, but for null."""
    if "anyOf" in schema:
        for branch in schema["anyOf"]:
            yield from _branches(branch)
    elif schema.get("type") != "null":
        yield schema


def _kinds(schema: Mapping[str, Any]) -> set[str]:
    return {branch.get("type", "string") for branch in _branches(schema)}


def _choices(schema: Mapping[str, Any]) -> list[str]:
    """The texts that a field takes, or that the entries of a list may be; none when it takes any."""
    found: list[str] = []
    for branch in _branches(schema):
        found += branch.get("enum", []) + branch.get("items", {}).get("enum", [])
    return found

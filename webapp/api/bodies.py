"""A JSON body, read strictly: one object, no name twice, and numbers as they were written."""

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from typing import Any, NamedTuple, NoReturn

from flask import request

from webapp.api.problems import Problem
from webapp.schemas import Input
from webapp.validation import FieldError, Invalid, read, told_name

_LONGEST_INTEGER = 30
_MOST_REPEATED = 100  # places that are told; each may be as long as a path
_LONGEST_PATH = 200
_TYPES = ("application/json", "application/merge-patch+json")


class Body(NamedTuple):
    """What was sent, and what no model would notice in it: names that occur twice, of whose values the last is here."""

    document: dict[str, Any]
    faults: tuple[FieldError, ...] = ()


class _Twice(dict[str, Any]):
    """An object some of whose names occur twice."""

    names: tuple[str, ...]


class _Nothing(Input):
    """The body of what takes none."""


def read_document(*, optional: bool = False) -> Body:
    """The request's JSON object. Numbers with a point are Decimals, exactly as they stand in the text.

    An `optional` one may be missing, which is the same as an empty object; that one is taken of any content type, as
    clients send it that call each endpoint alike.

    Raises Problem 415 for another content type, Problem 400 for text that is not JSON, Invalid for an empty body and
    for JSON that is not an object.
    """
    if optional and b"".join(request.get_data().split()) in (b"", b"{}"):
        return Body({})
    if request.mimetype not in _TYPES:
        raise Problem(415, "unsupported_media_type", "Send a JSON object with Content-Type: application/json.")
    raw = request.get_data()
    if not raw.strip():
        raise Invalid(FieldError("", "the body is empty; send a JSON object"))
    try:
        document = json.loads(
            raw.decode(),
            object_pairs_hook=_object,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
        faults = tuple(FieldError(path, "occurs twice") for path in islice(_repeated(document), _MOST_REPEATED))
    except RecursionError:
        raise Problem(400, "invalid_json", "The JSON is nested too deeply.") from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Problem(400, "invalid_json", f"The body is not valid JSON in UTF-8{where}.") from None
    if not isinstance(document, dict):
        raise Invalid(FieldError("", "must be a JSON object"))
    return Body(document, faults)


def refuse_content() -> None:
    """Of what takes no body: whoever sends fields expects something of them. An empty object says nothing.

    Raises Problem and Invalid as `read_document` does, and Invalid for every field.
    """
    body = read_document(optional=True)
    if faults := [*body.faults, *_faults_of(body.document)]:
        raise Invalid(*faults)


def _faults_of(document: dict[str, Any]) -> tuple[FieldError, ...]:
    try:
        read(_Nothing, document)
    except Invalid as error:
        return error.errors
    return ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    twice = _Twice(found)
    twice.names = tuple(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return twice


def _repeated(value: object, place: str = "") -> Iterator[str]:
    """Where names stand that occur twice, such as `model_limits[0].model`."""
    if isinstance(value, dict):
        if isinstance(value, _Twice):
            yield from (_within(place, name) for name in value.names)
        for name, part in value.items():
            yield from _repeated(part, _within(place, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _repeated(part, f"{place}[{number}]"[:_LONGEST_PATH])


def _within(place: str, name: str) -> str:
    return f"{place}.{told_name(name)}".removeprefix(".")[:_LONGEST_PATH]


def _integer(text: str) -> int | Decimal:
    """A number too long to be any of our integers stays a Decimal, so that its field is named as wrong."""
    return int(text) if len(text) <= _LONGEST_INTEGER else _decimal(text)


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")  # an exponent beyond all bounds


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")

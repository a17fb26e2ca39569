"""A JSON body, read strictly: one object, no name twice, and numbers as they were written."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NoReturn

from flask import request

from webapp.api.problems import Problem
from webapp.validation import FieldError, Invalid

_LONGEST_INTEGER = 30
_TYPES = ("application/json", "application/merge-patch+json")


def read_document(*, optional: bool = False) -> dict[str, Any]:
    """The request's JSON object. Numbers with a point are Decimals, exactly as they stand in the text.

    An `optional` one may be missing, which is the same as an empty object.

    Raises Problem 415 for another content type, Problem 400 for text that is not JSON, Invalid for an empty body,
    for JSON that is not an object, and for a name that occurs twice.
    """
    if optional and not request.content_length and not request.get_data():
        return {}
    if request.mimetype not in _TYPES:
        raise Problem(415, "unsupported_media_type", "Send a JSON object with Content-Type: application/json.")
    raw = request.get_data()
    if not raw.strip():
        raise Invalid(FieldError("", "the body is empty; send a JSON object"))
    try:
        document = json.loads(
            raw.decode(),
            object_pairs_hook=_unique,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_no_constant,
        )
    except RecursionError:
        raise Problem(400, "invalid_json", "The JSON is nested too deeply.") from None
    except ValueError as error:
        where = f" (line {error.lineno}, column {error.colno})" if isinstance(error, json.JSONDecodeError) else ""
        raise Problem(400, "invalid_json", f"The body is not valid JSON in UTF-8{where}.") from None
    if not isinstance(document, dict):
        raise Invalid(FieldError("", "must be a JSON object"))
    return document


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise Invalid(FieldError(name[:60], "occurs twice"))
        found[name] = value
    return found


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

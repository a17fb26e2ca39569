"""Fields as the JSON mapping of protocol buffers lets them be written, which is how Gemini reads a body.

A whole number may be text or have a point or an exponent, and one message may stand where a list of them belongs:
protobuf.dev/programming-guides/json for the numbers; the list is a leniency of Google's parser that clients rely on.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from proxyd.providers.base import BadBody
from proxyd.providers.body import MAX_COUNT
from proxyd.providers.body import objects as listed_objects

NUMBER = re.compile(r"-?[0-9]{1,20}(?:\.[0-9]{1,20})?(?:[eE][+-]?[0-9]{1,2})?")


def count(document: Mapping[str, Any], name: str, *, least: int = 0, param: str) -> int | None:
    """A whole number of at least `least`; None when absent or null."""
    value = document.get(name)
    if value is None:
        return None
    if isinstance(value, str | float) and NUMBER.fullmatch(str(value)):
        number = Decimal(str(value))
        value = int(number) if number == number.to_integral_value() else value
    if type(value) is not int or not least <= value <= MAX_COUNT:
        raise BadBody(f"{param} must be a whole number of at least {least}.", param)
    return value


def objects(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """A list of objects, of which a single one may stand there itself; empty when absent or null."""
    value = document.get(name)
    return [value] if type(value) is dict else listed_objects(document, name)

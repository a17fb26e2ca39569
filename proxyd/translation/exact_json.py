"""JSON in which whole numbers of any length stay what they are.

orjson reads a whole number of more than 64 bits as a float, which is another number: an amount or an identifier in the
arguments of a call would arrive wrong. Here it is kept as the text that it was, which orjson writes as it stands.
"""

import json
from typing import Any

import orjson

_SHORT = 19  # characters: any whole number of fewer has less than 64 bits
# To look whether there is one, in text as well: a tenth of what a regular expression takes, which every body would pay.
_DIGITS_ALIKE = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG = b"0" * _SHORT


def loads(data: bytes) -> Any:
    """Whatever `data` holds. Raises orjson.JSONDecodeError."""
    return exact(orjson.loads(data), data)


def exact(value: Any, data: bytes) -> Any:
    """`value`, which orjson read from `data`, with its long numbers as they were written."""
    if _LONG not in data.translate(_DIGITS_ALIKE):
        return value
    try:
        return json.loads(data, parse_int=_number)
    except RecursionError:
        return value  # which is nested more deeply than anybody here writes


def _number(text: str) -> int | orjson.Fragment:
    return int(text) if len(text) < _SHORT else orjson.Fragment(text)

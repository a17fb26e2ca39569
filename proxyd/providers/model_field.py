"""The model of a request that is not metered, wherever it stands: in JSON at any depth, in the query, in a form.

Keys may be restricted to models on endpoints whose bodies nobody here understands otherwise. So what could mean two
models means none, and a key with `allowed_models` is refused.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote_plus

from proxyd.providers.base import BadBody
from proxyd.providers.body import model_name, read_object

_NAME = re.compile(rb'"model"\s*:')
_DISGUISED = re.compile(rb"\\u00[46]")  # an m, o, d, e or l may hide behind it


def in_json(body: bytes) -> str | None:
    """The one model that a JSON object names. Raises BadBody when it is none, or names a field twice at its top."""
    document = read_object(body)
    named, names = document.get("model"), len(_NAME.findall(body))
    if names > 1 or (named is None and names) or _DISGUISED.search(body):
        found = _all_models(document)
        # A name that stands twice in one object is found once.
        if len(set(found)) != 1 or len(found) != names:
            return None
        named = found[0]
    return _plain(named)


def in_query(query: str) -> str | None:
    """The one model that a query names."""
    found = _values_in(query)
    return _plain(found.pop()) if len(found) == 1 else None


def is_contradicted(query: str, model: str) -> bool:
    """Whether a query names another model than the one that a request was read to be for."""
    return any(named and _plain(named) != _plain(model) for named in _values_in(query))


def _values_in(query: str) -> set[str]:
    if "model" not in query and "%" not in query:
        return set()
    pairs = (piece.partition("=") for piece in query.split("&"))
    return {unquote_plus(value) for name, _, value in pairs if unquote_plus(name) == "model"}


def in_form(values: list[bytes]) -> str | None:
    """The model by the values of a form's field."""
    if len(values) != 1:
        return None
    try:
        return _plain(values[0].decode())
    except UnicodeDecodeError:
        return None


def _plain(named: object) -> str | None:
    """A model's name as globs are told it: Gemini puts the kind of resource before it."""
    try:
        return model_name(named).removeprefix("models/")
    except BadBody:
        return None


def _all_models(document: Mapping[str, Any]) -> list[str]:
    """The values of all fields called `model`, however deep. Not by recursion: a client decides how deep."""
    found: list[str] = []
    waiting: list[Any] = [document]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            if "model" in item:
                model = item["model"]
                found.append(model if isinstance(model, str) else "")  # "" is no model's name
            waiting.extend(item.values())
        elif isinstance(item, list):
            waiting.extend(item)
    return found

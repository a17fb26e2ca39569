"""Paths that differ from an endpoint's in upper and lower case alone.

The providers tell them apart, and so do our tables: such a path would pass for an endpoint that nobody lists, which is
not metered. So it is refused, and the right one named.
"""

import re
from functools import lru_cache

from shared.catalog import COMPATIBLE, METHODS, PROVIDERS, find_endpoint
from shared.endpoint_kinds import WEBSOCKET, Provider

ALL = "/..."  # the whole path of the rows for everything that no other row has
_PLACEHOLDERS = re.compile(r"(\{\w+\}|/\.\.\.$)")


def listed(provider: Provider, path: str) -> bool:
    """Whether a row of a provider's fits a path, by any method, beside those that fit everything."""
    found = (find_endpoint(provider, method, path) for method in (*METHODS, WEBSOCKET))
    return any(entry is not None and entry[0].path != ALL for entry in found)


def meant(provider: Provider, path: str) -> str | None:
    """The path of an endpoint that is this one in another case; None: there is none, or this is one itself."""
    if listed(provider, path):
        return None
    for pattern, pieces in _patterns(provider.slug if provider.slug in PROVIDERS else ""):
        if (match := pattern.fullmatch(path)) is not None:
            values = iter(match.groups())
            found = "".join([next(values) if piece is None else piece for piece in pieces])
            return found if listed(provider, found) else None
    return None


def sentence(right: str) -> str:
    """What is told of such a path."""
    return f"There is no endpoint at this address: in the right case it is {right}."


_Pattern = tuple[re.Pattern[str], tuple[str | None, ...]]  # the pieces of a path; None: where a value stands


@lru_cache(maxsize=8)
def _patterns(slug: str) -> tuple[_Pattern, ...]:
    """Of a provider, narrow ones first; without a name those of an organisation's own."""
    endpoints = PROVIDERS[slug].endpoints if slug else COMPATIBLE
    paths = {endpoint.path for endpoint in endpoints if endpoint.path != ALL}
    return tuple(_pattern(path) for path in sorted(paths, key=lambda path: (path.endswith(ALL), -len(path), path)))


def _pattern(path: str) -> _Pattern:
    """Any value may stand where the row has one: what is found is looked up once more, as it would be sent."""
    split = [piece for piece in _PLACEHOLDERS.split(path) if piece]
    written = [_value(piece) or re.escape(piece) for piece in split]
    return re.compile("".join(written), re.IGNORECASE), tuple(None if _value(piece) else piece for piece in split)


def _value(piece: str) -> str | None:
    return "((?:/.*)?)" if piece == ALL else "([^/]+)" if piece.startswith("{") else None

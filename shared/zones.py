"""Time zones by their IANA names, from the package `tzdata` and from nowhere else.

A machine's own zone files may be missing or of another edition: then two machines that share counters would disagree on
which day it is. The package comes with the release, so all of them have the same rules.
"""

import logging
from datetime import datetime
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

log = logging.getLogger(__name__)

UTC_NAME = "UTC"
_NO_ZONES = frozenset({"Factory"})  # listed, and the zone of nobody
# Other names of it, in small letters: whoever names one has UTC, and pays for no zone.
_OF_UTC = frozenset(
    {"utc", "uct", "universal", "zulu", "gmt", "gmt0", "gmt+0", "gmt-0", "greenwich"}
    | {"etc/utc", "etc/uct", "etc/universal", "etc/zulu"}
    | {"etc/gmt", "etc/gmt0", "etc/gmt+0", "etc/gmt-0", "etc/greenwich"}
)


@cache
def names() -> tuple[str, ...]:
    """All of them, sorted."""
    listed = files("tzdata").joinpath("zones").read_text(encoding="ascii").split()
    return tuple(sorted(set(listed) - _NO_ZONES))


@cache
def _by_folded_name() -> dict[str, str]:
    return {name.casefold(): name for name in names()}


def read(text: str) -> str:
    """The name that somebody means, however it is capitalised and spaced, with spaces for underscores.

    Raises ValueError, with a sentence that names a similar one if there is one.
    """
    wanted = "/".join("_".join(part.split()) for part in text.split("/")).casefold()
    known = _by_folded_name()
    if wanted in _OF_UTC:
        return UTC_NAME
    if wanted in known:
        return known[wanted]
    from difflib import get_close_matches  # noqa: PLC0415 - workers, who never read one, need not have it

    similar = get_close_matches(wanted, known, n=1) if len(wanted) <= max(map(len, known)) else []
    meant = f"; did you mean {known[similar[0]]}?" if similar else ""
    raise ValueError(f"must be a time zone of the IANA database, such as Europe/Berlin{meant}")


@cache
def load(name: str) -> ZoneInfo:
    """Raises ValueError for a name that there is not."""
    if name not in names():
        raise ValueError(f"unknown time zone {name!r}")
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def name_of(moment: datetime) -> str:
    """The zone that a moment is told in."""
    return getattr(moment.tzinfo, "key", UTC_NAME)


@cache
def of_stored(name: str) -> str | None:
    """As the data plane has an organisation's zone: None for UTC, and for one that this release does not know."""
    if name == UTC_NAME:
        return None
    if name not in names():
        log.error("the time zone %r is not known to this release; its periods begin in UTC", name)
        return None
    return name

"""Values of a key's fields: whether what a form says is what is stored, and how people are told of either."""

from datetime import datetime

from shared.money import from_usd
from webapp.render import exact, rfc3339

_AMOUNTS = ("spend_limit_usd", "spend_limit_boost_usd")


def same(field: str, said: object, stored: object) -> bool:
    if isinstance(stored, datetime):
        return said in (rfc3339(stored), rfc3339(to_the_minute(stored)))
    if field in _AMOUNTS and isinstance(said, str) and isinstance(stored, str):
        try:
            return from_usd(said) == from_usd(stored)
        except ValueError:
            return False
    if isinstance(said, str) and isinstance(stored, str):
        return said.strip() == stored
    if isinstance(said, list) and isinstance(stored, tuple):
        # The order of providers says nothing, that of lines is what people wrote.
        return set(said) == set(stored) if field == "allowed_providers" else said == list(stored)
    return said == stored


def words(value: object, field: str) -> str:
    if value is None or value in ([], (), ""):
        return "not set"
    if isinstance(value, datetime):
        return exact(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in _AMOUNTS:
        return f"${value}"
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def to_the_minute(moment: datetime) -> datetime:
    """As the form shows it."""
    return moment.replace(second=0, microsecond=0)

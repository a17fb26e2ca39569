"""Values of a key's fields: whether what a form says is what is stored, and how people are told of either."""

from collections.abc import Mapping
from datetime import datetime

from shared.money import from_usd
from webapp.pages.key_presenter import PERIOD_WORDS
from webapp.render import rfc3339
from webapp.views.calendar import exact
from webapp.views.model_limits import ModelLimitView

_AMOUNTS = ("spend_limit_usd", "spend_limit_boost_usd")


def same(field: str, said: object, stored: object) -> bool:
    if isinstance(stored, datetime):
        return said in (rfc3339(stored), rfc3339(to_the_minute(stored)))
    if field == "model_limits":
        assert isinstance(said, list)  # noqa: S101 - as the form says them
        assert isinstance(stored, tuple)  # noqa: S101 - as a view has them
        return len(said) == len(stored) and all(map(_is_limit, said, stored))
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


def _is_limit(said: Mapping[str, str | None], stored: ModelLimitView) -> bool:
    """Whether a row of the form says what is stored."""
    amount = same("spend_limit_usd", said["spend_limit_usd"], stored.spend_limit_usd)
    return amount and (said["model"], said["spend_reset"]) == (stored.model, stored.spend_reset)


def words(value: object, field: str) -> str:
    if value is None or value in ([], (), ""):
        return "not set"
    if isinstance(value, datetime):
        return exact(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field in _AMOUNTS:
        return f"${value}"
    if field == "model_limits" and isinstance(value, list | tuple):
        return ", ".join(limit_words(one) for one in value)
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def limit_words(limit: ModelLimitView | Mapping[str, str | None]) -> str:
    """A limit for models, such as `gpt-4o*: $5.00 a day`."""
    told = limit if isinstance(limit, Mapping) else _fields_of(limit)
    return f"{told['model']}: ${told['spend_limit_usd']} {PERIOD_WORDS.get(str(told['spend_reset']), '')}".strip()


def _fields_of(limit: ModelLimitView) -> Mapping[str, str | None]:
    return {"model": limit.model, "spend_limit_usd": limit.spend_limit_usd, "spend_reset": limit.spend_reset}


def to_the_minute(moment: datetime) -> datetime:
    """As the form shows it."""
    return moment.replace(second=0, microsecond=0)

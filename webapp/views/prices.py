"""An organisation's own price as pages, API and commands show it."""

from dataclasses import dataclass
from datetime import datetime

from shared.models import PriceOverride


@dataclass(frozen=True, slots=True)
class PriceView:
    """Dollars by usage key, decimal strings: a million tokens or characters, an hour of sound, a thousand calls."""

    id: str
    provider: str
    model: str
    rates: dict[str, str]
    created_at: datetime


def view_of(row: PriceOverride) -> PriceView:
    return PriceView(row.id, row.provider, row.model, dict(row.rates), row.created_at)

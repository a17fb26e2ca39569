"""An organisation's own prices, for lists."""

from sqlalchemy import select

from shared.models import PriceOverride
from webapp.db import db
from webapp.views.prices import PriceView, view_of


def own_prices(org_id: str) -> list[PriceView]:
    """By provider and model."""
    query = select(PriceOverride).where(PriceOverride.org_id == org_id)
    rows = db.session.scalars(query.order_by(PriceOverride.provider, PriceOverride.model))
    return [view_of(row) for row in rows]

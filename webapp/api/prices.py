"""`/v1/prices`: the organisation's own prices, which beat the price table's."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from shared.pricing import table
from webapp.access import current_actor
from webapp.actions.prices import forget_price, set_price
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.prices import own_prices
from webapp.schemas.prices import OwnPrice, OwnPriceList, PriceRates
from webapp.validation import read

bp = Blueprint("api_prices", __name__, url_prefix="/v1/prices")

PLACE = {"provider": "The provider's name, such as openai.", "model": "The model's name, without a provider before it."}


@bp.get("")
@operation("listPrices", "keys:read", OwnPriceList, "The organisation's own prices")
def index() -> Response:
    """List the organisation's own prices; all other models have those of the price table."""
    prices = [OwnPrice.model_validate(view) for view in own_prices(current_actor().org_id)]
    return answer(OwnPriceList(data=prices, table_version=table.version()))


@bp.put("/<provider>/<path:model>")
@operation("setPrice", ADMIN_SCOPE, OwnPrice, "The price", path=PLACE, body=PriceRates, problems=(404,))
def set_rates(provider: str, model: str, document: dict[str, Any]) -> Response:
    """Price a model, in the place of all its token prices in the price table; it holds for the next request.

    Rates are dollars as decimal strings, a million tokens or a thousand calls of a tool.
    """
    rates = read(PriceRates, document).rates
    return answer(OwnPrice.model_validate(set_price(current_actor(), provider, model, rates)))


@bp.delete("/<provider>/<path:model>")
@operation("forgetPrice", ADMIN_SCOPE, OwnPrice, "The price that was", path=PLACE, problems=(404,))
def forget(provider: str, model: str) -> Response:
    """Go by the price table again."""
    return answer(OwnPrice.model_validate(forget_price(current_actor(), provider, model)))

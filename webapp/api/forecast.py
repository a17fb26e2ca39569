"""`/v1/forecast`: what will have been spent by the end of the running period."""

from flask import Blueprint, Response

from shared import money
from webapp.access import current_actor
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.forecast import forecast_of_key, forecast_of_organization, forecasts_of_tags
from webapp.schemas.forecast import Forecast, ForecastQuery
from webapp.views import forecast
from webapp.views.calendar import begins, zone_of

bp = Blueprint("api_forecast", __name__, url_prefix="/v1")


@bp.get("/forecast")
@operation("getForecast", "usage:read", Forecast, "The forecast", query=ForecastQuery, problems=(404,))
def show(query: ForecastQuery) -> Response:
    """Tell what a key, a tag or the organisation will have spent at the end of the running period, with its error.

    The period of a key is that of its spend limit, in the organisation's time zone; where that never resets, and of all
    others, it is the month.
    """
    org_id = current_actor().org_id
    zone = zone_of(org_id)
    if query.key is not None:
        return answer(told(forecast_of_key(org_id, query.key), zone))
    if query.tag is not None:
        return answer(told(forecasts_of_tags(org_id, [query.tag])[query.tag], zone))
    return answer(told(forecast_of_organization(org_id), zone))


def told(found: forecast.Forecast, zone: str | None) -> Forecast:
    """A forecast as JSON has it: its days begin in a zone."""
    return Forecast(
        period_start=begins(found.first, zone),
        period_end=begins(found.end, zone),
        spent_usd=money.to_usd(found.spent_nanos),
        expected_usd=_usd(found.expected_nanos),
        low_usd=_usd(found.low_nanos),
        high_usd=_usd(found.high_nanos),
        history_days=found.history_days,
        method=forecast.METHOD,
    )


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else money.to_usd(nanos)

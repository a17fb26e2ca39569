"""`/v1/forecast`: what will have been spent by the end of the running period."""

from datetime import UTC, date, datetime

from flask import Blueprint, Response

from shared import money
from webapp.access import current_actor
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.forecast import forecast_of_key, forecast_of_organization, forecasts_of_tags
from webapp.schemas.forecast import Forecast, ForecastQuery
from webapp.views import forecast

bp = Blueprint("api_forecast", __name__, url_prefix="/v1")


@bp.get("/forecast")
@operation("getForecast", "usage:read", Forecast, "The forecast", query=ForecastQuery, problems=(404,))
def show(query: ForecastQuery) -> Response:
    """Tell what a key, a tag or the organisation will have spent at the end of the running period, with its error.

    The period of a key is that of its spend limit, in UTC; where that never resets, and of all others, it is the month.
    """
    org_id = current_actor().org_id
    if query.key is not None:
        return answer(told(forecast_of_key(org_id, query.key)))
    if query.tag is not None:
        return answer(told(forecasts_of_tags(org_id, [query.tag])[query.tag]))
    return answer(told(forecast_of_organization(org_id)))


def told(found: forecast.Forecast) -> Forecast:
    """A forecast as JSON has it."""
    return Forecast(
        period_start=_midnight(found.first),
        period_end=_midnight(found.end),
        spent_usd=money.to_usd(found.spent_nanos),
        expected_usd=_usd(found.expected_nanos),
        low_usd=_usd(found.low_nanos),
        high_usd=_usd(found.high_nanos),
        history_days=found.history_days,
        method=forecast.METHOD,
    )


def _usd(nanos: int | None) -> str | None:
    return None if nanos is None else money.to_usd(nanos)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)

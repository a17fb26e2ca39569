"""What was used: sums of any days by what one likes, as a chart and as a table; refusals beside them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from flask import Blueprint, request
from werkzeug.wrappers import Response

from webapp.context import now
from webapp.db import one_moment
from webapp.pages import usage_periods, usage_query
from webapp.pages.chart import MOST_SERIES, Chart
from webapp.pages.usage_presenter import chart, colours_of, compact, figures, label, refused_rows, rest_row, rows
from webapp.pages.usage_query import Wanted
from webapp.queries.forecast import forecasts_of_tags
from webapp.queries.refused import counted_since, refused_by_reason
from webapp.queries.top_keys import Place, names_of, place_of, prefixes_of, top_keys
from webapp.queries.usage import (
    Cell,
    UsageLine,
    rest_of,
    total_of,
    usage_by_day,
    usage_of_keys_by_day,
    usage_of_labels_by_day,
    usage_of_organization,
)
from webapp.render import page, sentence
from webapp.schemas.lists import usage_cursor
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.calendar import days_words, today_of, zone_of
from webapp.views.custom_providers import provider_labels
from webapp.views.forecast import METHOD, Forecast

bp = Blueprint("usage", __name__)

ROWS = 50  # on a page


class _Shown(NamedTuple):
    """The lines of this page of the table, where the next one begins, and the sum of all there are."""

    lines: tuple[UsageLine, ...]
    next_place: Place | None
    total: UsageLine


@bp.get("/usage")
@require("viewer")
def index() -> Response:
    org_id = current_actor().org_id
    problems, zone = [], zone_of(org_id)
    try:
        asked = usage_query.wanted(request.args, zone)
    except Invalid as error:
        problems = [sentence(f"{wrong.field} {wrong.message}") for wrong in error.errors]
        asked = usage_query.standard(zone)
    with one_moment():  # a row of all the rest, and the chart, show what the sum has beside what they were read for
        told = {**_used(org_id, asked), **_refused(org_id, asked)}
    return page(
        "usage.html",
        status=422 if problems else 200,
        problems=problems,
        wanted=asked,
        days_text=usage_periods.in_words(*asked.days),
        periods=usage_periods.PERIODS,
        groups=usage_query.BY,
        metrics=usage_query.METRICS,
        method=METHOD,
        today=today_of(org_id, now()),
        days_words=days_words(zone),
        **told,
    )


def _used(org_id: str, asked: Wanted) -> dict[str, Any]:
    """The table and the chart."""
    shown = _shown(org_id, asked)
    keys = [line.group for line in shown.lines] if asked.group_by == "key" else []
    names, prefixes = (names_of(org_id, keys), prefixes_of(org_id, keys)) if keys else ({}, {})
    series = _series(asked, shown, names)
    drawn = None if asked.below else _chart(org_id, asked, series)
    in_parts = asked.group_by != "tag"  # a key with several tags is in several rows
    rest = rest_of(shown.total, shown.lines)
    colours = colours_of(series) if drawn and in_parts else {}
    return {
        "rows": rows(shown.lines, asked, shown.total, names, colours, _forecasts(org_id, asked, shown), prefixes),
        "rest": rest_row(rest, asked, shown.total) if in_parts and (shown.next_place or asked.below) else None,
        "total": figures(shown.total),
        "tokens": (compact(shown.total.input_tokens), compact(shown.total.output_tokens)),
        "next_href": _next(asked, shown.next_place),
        "chart": drawn,
    }


def _refused(org_id: str, asked: Wanted) -> dict[str, Any]:
    """What was refused in the same days."""
    refused = refused_by_reason(org_id, *asked.days)
    since = counted_since(org_id)
    return {
        "refused": refused_rows(refused, asked),
        "refused_total": f"{sum(one.count for one in refused):,}",
        # Before that day nobody counted by day, or nothing was refused; on it counting may have begun at any hour.
        "refused_since": None if since is None or since < asked.first else usage_periods.in_words(since, since),
    }


def _shown(org_id: str, asked: Wanted) -> _Shown:
    if asked.group_by == "key":
        total = usage_of_organization(org_id, *asked.days).total
        top = top_keys(org_id, *asked.days, ROWS, asked.below)
        return _Shown(top.lines, top.next_place, total)
    table = usage_of_organization(org_id, *asked.days, asked.group_by)
    placed = sorted(((_place(asked, line), line) for line in table.lines), key=lambda pair: pair[0], reverse=True)
    wanted = [(place, line) for place, line in placed if asked.below is None or place < asked.below]
    lines = tuple(line for _, line in wanted[:ROWS])
    return _Shown(lines, wanted[ROWS - 1][0] if len(wanted) > ROWS else None, table.total)


def _place(asked: Wanted, line: UsageLine) -> Place:
    """Days by themselves, the latest first; all others by what they cost."""
    return (0, line.group) if asked.group_by == "day" else place_of(line)


def _next(asked: Wanted, place: Place | None) -> str | None:
    return None if place is None else asked.href(cursor=usage_cursor(asked.group_by, place))


def _forecasts(org_id: str, asked: Wanted, shown: _Shown) -> dict[str, Forecast]:
    """Of tags alone: keys have theirs on their pages."""
    if asked.group_by != "tag":
        return {}
    return forecasts_of_tags(org_id, [line.group for line in shown.lines if line.group])


def _series(asked: Wanted, shown: _Shown, names: dict[str, str]) -> list[tuple[str, str]]:
    """The groups with a colour of their own in the chart, and what they are called; days and tags go by provider."""
    if asked.group_by in ("day", "tag"):
        return list(provider_labels(current_actor().org_id).items())
    lines = [line for line in shown.lines if line.group or asked.group_by != "label"]
    return [(line.group, label(asked.group_by, line.group, names)) for line in lines[:MOST_SERIES]]


def _chart(org_id: str, asked: Wanted, series: list[tuple[str, str]]) -> Chart | None:
    if asked.group_by in ("provider", "model"):
        return chart(asked, usage_by_day(org_id, *asked.days, asked.group_by), series)
    by_provider = list(usage_by_day(org_id, *asked.days, "provider"))
    if asked.group_by in ("day", "tag"):
        return chart(asked, by_provider, series)
    of_each = usage_of_labels_by_day if asked.group_by == "label" else usage_of_keys_by_day
    drawn = list(of_each(org_id, [group for group, _ in series], *asked.days))
    return chart(asked, [*drawn, *_others(by_provider, drawn)], series)


def _others(whole: Iterable[Cell], part: Iterable[Cell]) -> list[Cell]:
    """What was used on each day beside a part of it."""
    lines: dict[object, list[UsageLine]] = {}
    for day, line in part:
        lines.setdefault(day, []).append(line)
    days: dict[object, list[Cell]] = {}
    for cell in whole:
        days.setdefault(cell.day, []).append(cell)
    return [
        Cell(cells[0].day, rest_of(total_of([cell.line for cell in cells]), lines.get(day, ())))
        for day, cells in days.items()
    ]

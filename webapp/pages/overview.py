"""The organisation at a glance: what it spends and where, which keys want a look, and for newcomers how to begin."""

from datetime import date, timedelta
from typing import Any

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from webapp.context import now
from webapp.db import one_moment
from webapp.pages import overview_presenter, usage_periods, usage_query
from webapp.pages.forecast_words import outlook
from webapp.pages.key_examples import examples
from webapp.pages.overview_presenter import Guide
from webapp.pages.usage_presenter import figures, rows
from webapp.queries.first_request import first_request, newest_key
from webapp.queries.forecast import forecast_of_organization
from webapp.queries.key_counts import count_keys_to_look_at
from webapp.queries.providers import list_providers
from webapp.queries.refused import last_refusals, refused_by_day
from webapp.queries.top_keys import names_of, top_keys
from webapp.queries.usage import UsageLine, usage_of_organization
from webapp.render import is_fragment, page
from webapp.security import current_actor, may, require
from webapp.views.attention import LATELY
from webapp.views.calendar import days_words, today_of, zone_of
from webapp.views.forecast import METHOD

bp = Blueprint("overview", __name__)

_TOP, _REFUSALS = 5, 5
_NEW = timedelta(hours=1)  # for which the guide says that the first request has landed
_PLACEHOLDER = "the-secret-of-your-key"


@bp.get("/overview")
@require("viewer")
def index() -> Response:
    org_id, at = current_actor().org_id, now()
    providers = overview_presenter.providers(list_providers(org_id))
    latest = list(last_refusals(org_id, at - LATELY, _REFUSALS))
    with one_moment():
        used = {**_figures(org_id, today_of(org_id, at)), **_top(org_id)}
    return page(
        "overview.html",
        **used,
        **_guide_facts(org_id),
        counts_at=(counts := count_keys_to_look_at(org_id, at)).at,
        looks=overview_presenter.looks(counts),
        refusals=overview_presenter.refusals(latest, names_of(org_id, [key_id for key_id, _ in latest]), at),
        providers=providers,
        behind=overview_presenter.behind(providers),
        waiting=[row.label for row in providers if row.behind == "waiting"],
        may_write=may("member"),
        may_administer=may("admin"),
    )


@bp.get("/overview/first-request")
@require("viewer")
def watch() -> Response:
    """The guide as it stands, for the page that shows it; nothing when the page shows it already.

    Once there is no guide any more the page is to be loaded again, or it would wait for ever.
    """
    if not is_fragment():
        return redirect("/overview", code=303)
    guide = _guide(current_actor().org_id)
    if guide is None:
        return Response(status=204, headers={"HX-Refresh": "true"})
    if guide.state == request.args.get("seen"):
        return Response(status=204)
    return page("overview.html", "guide", guide=guide)


def _figures(org_id: str, today: date) -> dict[str, Any]:
    """Of today, and of this month beside the last one: one read of the roll-up for all of them."""
    before = usage_periods.same_days_of_last_month(today)
    table = usage_of_organization(org_id, before[0], today)
    by_day: dict[date, UsageLine] = {date.fromisoformat(line.group): line for line in table.lines}
    first = today.replace(day=1)
    this_month = overview_presenter.spend_of(by_day, first, today)
    refused = refused_by_day(org_id, today - timedelta(days=6), today)
    return {
        "today": figures(overview_presenter.spend_of(by_day, today, today)),
        "month": overview_presenter.month(this_month, overview_presenter.spend_of(by_day, *before), before),
        "month_name": f"{today:%B}",
        "outlook": outlook(forecast_of_organization(org_id)),
        "method": METHOD,
        "refused_today": f"{refused.get(today, 0):,}",
        "refused_week": f"{sum(refused.values()):,}",
    }


def _top(org_id: str) -> dict[str, Any]:
    """The keys that cost most in the last seven days, each with its part of all."""
    zone = zone_of(org_id)
    asked = usage_query.standard(zone, "7d", "key")
    top = top_keys(org_id, *asked.days, _TOP)
    total = usage_of_organization(org_id, *asked.days).total
    names = names_of(org_id, [line.group for line in top.lines])
    return {
        "top": rows(top.lines, asked, total, names, {}),
        "days_words": days_words(zone),
        "top_href": asked.href(),
        "last_week_href": usage_query.standard(zone, "last-week", "key").href(),
    }


def _guide_facts(org_id: str) -> dict[str, Any]:
    """The guide, with a request to copy; nothing once the organisation has got used to it."""
    guide = _guide(org_id)
    if guide is None:
        return {"guide": None}
    key = None if guide.done else newest_key(org_id)
    if key is None:
        return {"guide": guide, "key": None}
    told = examples(key, _PLACEHOLDER)
    curl = next((one.text for one in told["snippets"] if one.slug == "curl"), "")
    return {"guide": guide, "key": key, "curl": curl, "why_unknown": told["why_unknown"]}


def _guide(org_id: str) -> Guide | None:
    found = first_request(org_id)
    if found.answered is not None and now() - found.answered.at > _NEW:
        return None
    return overview_presenter.guide(found, names_of(org_id, [found.key_id] if found.key_id else []))

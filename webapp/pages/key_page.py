"""The page of one key: how it stands and why, what is left, what it did and was refused, examples, and a dry run.

Its first section is asked for again every two seconds while somebody looks at it (static/polling.js).
"""

import hashlib
from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from webapp.context import now
from webapp.pages import key_check
from webapp.pages.actor_words import actor_words
from webapp.pages.forecast_words import limit_facts
from webapp.pages.key_check import CheckForm
from webapp.pages.key_examples import examples
from webapp.pages.key_facts import LimitFacts, limits, refusal_facts, request_facts
from webapp.pages.key_history import history
from webapp.pages.key_presenter import badge, pausing
from webapp.pages.key_usage import PERIODS, days_of, usage_facts
from webapp.queries.attention import judge_keys
from webapp.queries.forecast import forecast_of_view
from webapp.queries.hand_overs import list_hand_overs
from webapp.queries.key_activity import recent_of, refused, use_of
from webapp.queries.keys import get_key
from webapp.render import block, is_fragment, page
from webapp.security import current_actor, may, require
from webapp.validation import Invalid
from webapp.views.custom_providers import own_models
from webapp.views.keys import KeyView, secrets_of
from webapp.views.organization import limited_standing

bp = Blueprint("key_page", __name__, url_prefix="/keys")


@bp.get("/<key_id>")
@require("viewer")
def show(key_id: str) -> Response:
    panel = "usage" if request.headers.get("HX-Target") == "usage" else ""
    if panel and is_fragment():
        view = get_key(current_actor().org_id, key_id)
        return page("key.html", panel, key=view, **_usage(view))
    return page("key.html", **_whole(key_id, CheckForm()))


@bp.get("/<key_id>/live")
@require("viewer")
def live(key_id: str) -> Response:
    """The state and the refusals, or 204 when they are what the page shows already."""
    if not is_fragment():
        return redirect(f"/keys/{get_key(current_actor().org_id, key_id).id}", code=303)
    org_id = current_actor().org_id
    html = block("key.html", "live", **_live(get_key(org_id, key_id)))
    digest = hashlib.sha256(html.encode()).hexdigest()[:16]
    if request.args.get("shown") == digest:
        return Response(status=204)
    return Response(f'{html}<input type="hidden" name="shown" id="key-shown" value="{digest}">', mimetype="text/html")


@bp.post("/<key_id>/check")
@require("viewer")
def check(key_id: str) -> Response:
    """Tell what would become of a request; nothing is sent, counted or charged."""
    org_id, form = current_actor().org_id, CheckForm()
    get_key(org_id, key_id)
    found: dict[str, Any] = {}
    try:
        found["answer"] = key_check.ask(org_id, key_id, form)
    except Invalid as error:
        found["general"] = key_check.attach(form, error.errors)
    status = 200 if "answer" in found else 422
    if is_fragment():
        view = get_key(org_id, key_id)
        return page("key.html", "check", status=status, **{**_form(view, form), **found})
    return page("key.html", status=status, **{**_whole(key_id, form), **found})


def _whole(key_id: str, form: CheckForm) -> dict[str, Any]:
    view, at = get_key(current_actor().org_id, key_id), now()
    org_id = current_actor().org_id
    recent, links = recent_of(org_id, key_id), list_hand_overs(org_id, key_id)
    acted = (view.created_by, *(event.actor for event in recent.events), *(link.created_by for link in links))
    actors = actor_words(org_id, acted)
    return {
        **_live(view),
        **_usage(view),
        **_form(view, form),
        **examples(view, None),
        "limits": _limits(view, actors[view.created_by], at),
        "requests": [request_facts(each, at) for each in recent.requests],
        "history": history(recent.events, actors, at),
        "pausing": pausing(view),
        "links": links,
        "actors": actors,
    }


def _limits(view: KeyView, maker: str, at: datetime) -> tuple[LimitFacts, ...]:
    """The money first: what is left, what was spent, and what the period is expected to come to."""
    own, together = own_models(current_actor().org_id), limited_standing(current_actor().org_id)
    told = limits(view, use_of(view), secrets_of(view, at), maker, at, own, together)
    return (*told[:2], *limit_facts(forecast_of_view(current_actor().org_id, view), view), *told[2:])


def _live(view: KeyView) -> dict[str, Any]:
    at = now()
    return {
        "key": view,
        "editable": may("member") and view.status != "revoked",
        "state": badge(judge_keys([view], at)[view.id]),
        "refusals": [refusal_facts(each, at) for each in refused(current_actor().org_id, view.id)],
    }


def _usage(view: KeyView) -> dict[str, Any]:
    days = days_of(request.args.get("days"))
    return {"usage": usage_facts(current_actor().org_id, view.id, days, now()), "periods": PERIODS}


def _form(view: KeyView, form: CheckForm) -> dict[str, Any]:
    failed = [name for name, field in form._fields.items() if field.errors]
    return {"key": view, "form": form, "first": failed[0] if failed else "", "general": (), "answer": None}

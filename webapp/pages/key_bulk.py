"""One change of many keys: first a question that names them, then some at a time, with a result for each.

With htmx each answer brings the next request along, so that progress is seen and closing the dialog stops what is left;
without JavaScript one answer tells all.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, request
from flask.wrappers import Response
from flask_wtf import FlaskForm
from wtforms import SelectField, StringField
from wtforms.fields import SelectChoice

from webapp.actions.bulk import Outcome, change_many
from webapp.actions.policy import NotInForce
from webapp.context import Conflict, NotFound, now
from webapp.pages.expiry import LATER, NEVER, expiry_of
from webapp.pages.key_form import attach
from webapp.pages.key_presenter import when
from webapp.pages.key_rows import replaced
from webapp.queries.selected import keys_of
from webapp.render import append, block, is_fragment, page, sentence
from webapp.schemas.bulk import MOST_KEYS
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.keys import KeyView

bp = Blueprint("key_bulk", __name__, url_prefix="/keys/bulk")

AT_ONCE = 10
_UNTOLD = SelectChoice("", "Choose…")
_COUNT = re.compile(r"[0-9]{1,4}")


@dataclass(frozen=True, slots=True)
class Verb:
    """How a change of many keys is worded."""

    asks: str
    does: str
    doing: str
    done: str
    warning: str


VERBS = {
    "pause": Verb("Pause", "Pause", "Pausing", "paused", "They are refused from their next request on, until resumed."),
    "resume": Verb("Resume", "Resume", "Resuming", "resumed", "They work from their next request on."),
    "extend": Verb(
        "Change the expiry of",
        "Change expiry",
        "Changing the expiry of",
        "changed",
        "Pick the new one below.",
    ),
    "revoke": Verb(
        "Revoke", "Revoke for ever", "Revoking", "revoked", "They are refused for ever. This cannot be undone."
    ),
}


class BulkForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """What is asked beside the keys; only a change of expiry asks anything."""

    expires = SelectField("Expires", choices=[_UNTOLD, *LATER, NEVER], id="key-expires")
    expires_at = StringField("Expires at (UTC)", id="key-expires_at")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one key, in words."""

    name: str
    prefix: str
    text: str
    failed: bool


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a change of many has come, counted over its steps."""

    total: int
    changed: int
    failed: int

    @property
    def done(self) -> int:
        return self.changed + self.failed


@bp.post("/ask")
@require("member")
def ask() -> Response:
    """What would be changed. It changes nothing, and comes by POST because many ids do not fit into an address."""
    return _question(BulkForm(), request.form.getlist("ids"))


@bp.post("/change")
@require("member")
def change() -> Response:
    """Change the first of the named keys, or all of them where nothing could ask for the others."""
    form, ids, actor = BulkForm(), list(dict.fromkeys(request.form.getlist("ids"))), current_actor()
    now_due = ids[:AT_ONCE] if is_fragment() else ids
    document: dict[str, object] = {"action": request.form.get("action"), "ids": now_due}
    named = {view.id: view for view in keys_of(actor.org_id, now_due)}
    try:
        if document["action"] == "extend":
            document["expires_at"] = expiry_of(form.expires.data, form.expires_at.data, now())
        wanted, outcomes = change_many(actor, document)
    except Invalid as error:
        return _question(form, ids, general=attach(form, error.errors), status=422)
    results = [_result(outcome, wanted.action, named.get(outcome.key_id)) for outcome in outcomes]
    failed = sum(result.failed for result in results)
    progress = Progress(
        max(_counted("total"), len(ids)),
        _counted("changed") + len(results) - failed,
        _counted("failed") + failed,
    )
    return _step(form, results, progress, ids[len(now_due) :], [o.view for o in outcomes if o.view is not None])


def _question(form: BulkForm, ids: Sequence[str], *, general: Sequence[str] = (), status: int = 200) -> Response:
    verb = VERBS.get(request.form.get("action", ""))
    keys = keys_of(current_actor().org_id, ids[:MOST_KEYS])
    if verb is None or not keys:
        told = "Nothing was changed: tick the keys first, then choose what to do with them."
        back = {"back_href": "/keys", "back_to": "the keys"}
        return page("notice.html", "panel", status=422, title="No key is selected", text=told, **back)
    return page(
        "key_bulk.html",
        "panel",
        status=status,
        form=form,
        general=general,
        action=request.form["action"],
        verb=verb,
        keys=keys,
    )


def _step(
    form: BulkForm, results: Sequence[Result], progress: Progress, left: Sequence[str], views: Sequence[KeyView]
) -> Response:
    """The first answer is a dialog of its own; the next ones bring their results and how far it has come."""
    told: dict[str, Any] = {
        "form": form,
        "action": request.form["action"],
        "verb": VERBS[request.form["action"]],
        "results": results,
        "progress": progress,
        "left": left,
    }
    if not is_fragment():
        return page("key_bulk.html", "panel", **told)
    if "total" in request.form:
        response = Response(block("key_bulk.html", "step", **told), headers={"Cache-Control": "no-store"})
        append(response, block("key_bulk.html", "results", out_of_band=True, **told))
    else:
        response = page("key_bulk.html", "panel", **told)
    if views:
        append(response, replaced(*views))
    return response


def _result(outcome: Outcome, action: str, before: KeyView | None) -> Result:
    view = outcome.view or before
    name, prefix = (view.name, view.prefix) if view is not None else (outcome.key_id, "")
    error = outcome.error
    if isinstance(error, NotInForce):
        return Result(name, prefix, str(error), failed=False)
    if error is not None:
        return Result(name, prefix, _why(error), failed=True)
    told = VERBS[action].done.capitalize()
    if action == "extend" and outcome.view is not None:
        moment = outcome.view.expires_at
        told = "Never expires" if moment is None else f"Expires {when(moment, now())}"
    return Result(name, prefix, told, failed=False)


def _why(error: Exception) -> str:
    if isinstance(error, NotFound):
        return "There is no such key."
    if isinstance(error, Conflict):
        return "It is revoked, for ever." if error.code == "key_revoked" else error.message
    return sentence(error.detail if isinstance(error, Invalid) else str(error))


def _counted(name: str) -> int:
    """What the step before has counted; only shown."""
    text = request.form.get(name, "")
    return int(text) if _COUNT.fullmatch(text) else 0

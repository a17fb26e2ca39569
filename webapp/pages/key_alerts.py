"""At which parts of its spend limit a key is told of, if not at its organisation's."""

import re

from flask import Blueprint, redirect
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import RadioField, StringField
from wtforms.fields import SelectChoice

from webapp.actions.alerts import set_thresholds
from webapp.context import Conflict
from webapp.pages.alerts_form import attach, numbers_in
from webapp.pages.key_changed import answer_refusal
from webapp.queries.keys import get_key
from webapp.render import page, tell
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.alerts import rules_of, thresholds_of

bp = Blueprint("key_alerts", __name__, url_prefix="/keys")
_USUAL, _OWN = "usual", "own"
_REVOKED = "This key is revoked. Nobody is told of a revoked key any more."


class KeyAlertsForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """Whose thresholds hold, and the key's own."""

    whose = RadioField(
        "Thresholds",
        choices=[SelectChoice(_USUAL, "Those of the organisation"), SelectChoice(_OWN, "Its own")],
        id="key-whose",
    )
    spend_thresholds = StringField("Parts of its spend limit, in per cent", id="key-spend_thresholds")


@bp.get("/<key_id>/alerts")
@require("member")
def ask(key_id: str) -> Response:
    key = get_key(current_actor().org_id, key_id)
    if key.status == "revoked":
        return answer_refusal(key_id, "Nothing to choose", _REVOKED)
    own = thresholds_of(key.id)
    shown = rules_of(current_actor().org_id).spend_thresholds if own is None else own
    told = {"whose": _USUAL if own is None else _OWN, "spend_thresholds": ", ".join(map(str, shown))}
    return _show(key_id, KeyAlertsForm(formdata=None, data=told))


@bp.post("/<key_id>/alerts")
@require("member")
def save(key_id: str) -> Response:
    form = KeyAlertsForm()
    own = form.whose.data == _OWN
    wanted = numbers_in(form.spend_thresholds.data or "") if own else None
    try:
        set_thresholds(current_actor(), key_id, {"spend_thresholds": wanted})
    except Invalid as error:
        return _show(key_id, form, general=attach(form, error.errors), status=422)
    except Conflict:
        return answer_refusal(key_id, "Nothing was saved", _REVOKED)
    name = get_key(current_actor().org_id, key_id).name
    tell(Markup("Alerts for <bdi>{}</bdi> saved.").format(name))
    return redirect(f"/keys/{key_id}", code=303)


def _show(key_id: str, form: KeyAlertsForm, *, general: tuple[str, ...] = (), status: int = 200) -> Response:
    org_id = current_actor().org_id
    usual = ", ".join(f"{one} %" for one in rules_of(org_id).spend_thresholds) or "none"
    return page(
        "key_alerts.html",
        "panel",
        status=status,
        key=get_key(org_id, key_id),
        form=form,
        general=general,
        usual=re.sub(r"\s", "\N{NO-BREAK SPACE}", usual),
    )

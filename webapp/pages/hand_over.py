"""Handing a secret over: the link is made where the secret is shown, and opened by whoever it is for.

Opening the link uses up nothing, because programs that look at links beforehand open them too; its button does.
"""

from flask import Blueprint, redirect, request
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField

from webapp.actions.hand_overs import GOOD_FOR, SEALED, end_hand_over, hand_over, note_guess, reveal
from webapp.addresses import dashboard_url
from webapp.context import Conflict, NotFound
from webapp.pages.key_changed import answer_refusal, from_its_page
from webapp.pages.key_examples import examples
from webapp.queries.hand_overs import find_offer
from webapp.queries.keys import get_key
from webapp.render import page, tell
from webapp.security import client_ip, current_actor, public, require
from webapp.validation import Invalid
from webapp.views.keys import KeyView
from webapp.views.organization import organization_of

bp = Blueprint("hand_over", __name__)

_OVER = (
    "Its secret was shown already, it is older than 24 hours, or whoever made it has ended it. If you did not see the "
    "secret yourself, say so to whoever sent you the link: somebody else may have it."
)
_SEALED = (
    "The secret is still there, but the key that sealed it was taken away from this router. Ask whoever sent you the "
    "link for another one."
)
_OPENS_NOT = "What was sent is no secret that opens this key. Rotate the key to get one that you can hand over."


class OpenForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """What opens the link."""

    token = HiddenField()


@bp.post("/keys/<key_id>/hand-over")
@require("member")
def create(key_id: str) -> Response:
    """Make the link, in the place of the secret on the screen."""
    actor = current_actor()
    view = get_key(actor.org_id, key_id)
    try:
        created = hand_over(actor, key_id, {"key": request.form.get("secret", "")})
    except Invalid:
        return answer_refusal(key_id, "No link was made", _OPENS_NOT)
    except Conflict as conflict:
        return answer_refusal(key_id, "No link was made", conflict.message)
    return page(
        "hand_over_made.html",
        "panel",
        status=201,
        key=view,
        link=created.view,
        url=f"{dashboard_url()}/hand-over/{created.token}",
        hours=GOOD_FOR.days * 24 + GOOD_FOR.seconds // 3600,
        back=from_its_page(),
    )


@bp.post("/keys/<key_id>/hand-over/end")
@require("member")
def end(key_id: str) -> Response:
    """The link opens nothing from now on."""
    try:
        end_hand_over(current_actor(), key_id, request.form.get("id", ""))
        tell("The link opens nothing any more.")
    except NotFound:
        get_key(current_actor().org_id, key_id)
        tell("The link was opened, or ended, already. The history below says which.")
    return redirect(f"/keys/{key_id}", code=303)


@bp.get("/hand-over/<token>")
@public
def show(token: str) -> Response:
    offer = find_offer(token)
    if offer is None:
        return _over()
    form = OpenForm(formdata=None, data={"token": token})
    name = organization_of(offer.org_id).name
    # With "no-referrer" a browser would not say either from where the form is sent, which is looked at (RFC 6454).
    return _private(page("hand_over.html", form=form, offer=offer, organization=name), "strict-origin")


# The form is sent to an address without the token, so that no line of a log about it can hold one.
@bp.post("/hand-over")
@public
def open_link() -> Response:
    """Show the secret, this once."""
    token = OpenForm().token.data or ""
    try:
        revealed = reveal(token, client_ip(), _told)
    except Conflict as conflict:
        if conflict.code == SEALED:
            return _private(page("hand_over.html", status=409, form=None, over=_SEALED), "no-referrer")
        return _over()
    shown = page("hand_over_seen.html", key=revealed.key, secret=revealed.secret, **revealed.told)
    return _private(shown, "no-referrer")


def _told(org_id: str, key: KeyView, secret: str) -> dict[str, object]:
    return {**examples(key, secret, org_id=org_id), "organization": organization_of(org_id).name}


def _over() -> Response:
    """Say that it opens nothing, and why that may be; to whoever tries many links, that they have to wait."""
    status, words = 404, _OVER
    try:
        note_guess(client_ip())
    except Conflict as throttled:
        status, words = 429, throttled.message
    return _private(page("hand_over.html", status=status, form=None, over=words), "no-referrer")


def _private(response: Response, referrer: str) -> Response:
    """Kept by nobody: no cache, no index of a search engine, no other site that is told where somebody came from."""
    response.headers["Cache-Control"] = "no-store"
    response.headers["Referrer-Policy"] = referrer
    response.headers["X-Robots-Tag"] = "none"
    return response

"""What somebody sees who opens the link of an invitation: who invites, and a password to choose.

Opening it uses up nothing, because programs that look at links beforehand open them too; sending the form does.
"""

from flask import Blueprint, redirect, request
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, PasswordField

from webapp.actions.invitations import OVER, accept, note_guess
from webapp.context import Conflict
from webapp.queries.invitations import find_invitation
from webapp.render import page, sentence, tell
from webapp.security import client_ip, public, remember_browser, start_session
from webapp.validation import Invalid
from webapp.views.organization import organization_of

bp = Blueprint("invitation", __name__, url_prefix="/invitation")


class AcceptForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """The password that somebody chooses, and the secret of the link."""

    password = PasswordField("Password", id="password")
    secret = HiddenField()


# The form is sent to an address without the secret, so that no line of a log about it can hold one.
@bp.get("/<secret>")
@public
def show(secret: str) -> Response:
    return _page(AcceptForm(formdata=None, data={"secret": secret}), secret)


@bp.post("")
@public
def enter() -> Response:
    form = AcceptForm()
    secret = form.secret.data or ""
    agent = request.headers.get("User-Agent", "")
    try:
        inside = accept(secret, form.password.data or "", client_ip(), agent=agent)
    except Invalid as error:
        form.password.errors = [sentence(wrong.message) for wrong in error.errors]
        return _page(form, secret, status=422)
    except Conflict as conflict:
        return _over() if conflict.code == OVER else _nothing(conflict.message)
    start_session(inside.session_id)
    tell("Welcome. Your password is set, and you are logged in.")
    response = redirect("/", code=303)
    remember_browser(response, inside.browser)
    return response


def _page(form: AcceptForm, secret: str, *, status: int = 200) -> Response:
    invitation = find_invitation(secret)
    if invitation is None:
        return _over()
    name = organization_of(invitation.org_id).name
    return page("invitation.html", status=status, form=form, invitation=invitation, organization=name, over="")


def _over() -> Response:
    """Say that it opens nothing; to whoever tries many links, that they have to wait."""
    try:
        note_guess(client_ip())
    except Conflict as throttled:
        return _nothing(throttled.message, status=429)
    return _nothing("This link was used, withdrawn, or is older than a week. Ask for a new one.")


def _nothing(words: str, *, status: int = 404) -> Response:
    return page("invitation.html", status=status, form=None, invitation=None, organization="", over=words)

"""One's own account: the password, and the sessions that are open, each of which can be ended."""

from flask import Blueprint, redirect, request
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import PasswordField

from webapp.actions import sessions
from webapp.actions.login import IDLE, session_digest
from webapp.context import Conflict, now
from webapp.pages.browser_words import browser_words
from webapp.queries.sessions import list_sessions
from webapp.render import page, relative, sentence, tell
from webapp.security import current_actor, remember_browser, require, start_session
from webapp.validation import Invalid

bp = Blueprint("account", __name__, url_prefix="/account")


class PasswordForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """The present password and the next one."""

    current_password = PasswordField("Present password", id="current-password")
    new_password = PasswordField("New password", id="new-password")


@bp.get("")
@require("viewer")
def show() -> Response:
    return _page(PasswordForm())


@bp.post("/password")
@require("viewer")
def change_password() -> Response:
    """All sessions end; this browser gets a new one."""
    form = PasswordForm()
    try:
        inside = sessions.change_password(
            current_actor(),
            current_user.user_id,
            form.current_password.data or "",
            form.new_password.data or "",
            agent=request.headers.get("User-Agent", ""),
        )
    except Invalid as error:
        for wrong in error.errors:
            form[wrong.field].errors = [*form[wrong.field].errors, sentence(wrong.message)]
        return _page(form, status=422)
    except Conflict as conflict:
        if conflict.code != "too_many_attempts":
            raise
        return _page(form, general=(conflict.message,), status=429)
    start_session(inside.session_id)
    tell("Your password is changed. You are logged out everywhere else.")
    response = redirect("/account", code=303)
    remember_browser(response, inside.browser)
    return response


@bp.post("/sessions/<session_id>/end")
@require("viewer")
def end(session_id: str) -> Response:
    sessions.end_session(current_actor(), current_user.user_id, session_id)
    tell("That session has ended.")
    return redirect("/account", code=303)


@bp.post("/sessions/end-others")
@require("viewer")
def end_others() -> Response:
    ended = sessions.sign_out_everywhere(current_actor(), current_user.user_id, but=current_user.get_id())
    tell("There was no other session." if not ended else f"{ended} other session{'s' * (ended > 1)} ended.")
    return redirect("/account", code=303)


def _page(form: PasswordForm, *, general: tuple[str, ...] = (), status: int = 200) -> Response:
    at = now()
    listed = list_sessions(current_user.user_id, session_digest(current_user.get_id()), seen_since=at - IDLE)
    failed = [field.name for field in form if field.errors]
    return page(
        "account.html",
        status=status,
        form=form,
        general=general,
        first=failed[0] if failed else None,
        sessions=[
            (view, browser_words(view.agent), relative(view.created_at, at), relative(view.seen_at, at))
            for view in listed
        ],
    )

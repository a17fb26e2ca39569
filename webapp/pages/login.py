"""Logging in and out."""

import math

from flask import Blueprint, redirect, request, session
from flask_login import current_user
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, PasswordField, StringField

from webapp.actions import login as action
from webapp.pages.single_sign_on import AT_PROVIDER
from webapp.render import page
from webapp.security import browser_secret, client_ip, end_session, public, remember_browser, safe_next, start_session

bp = Blueprint("login", __name__)


class LoginForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """Email and password, and where to go afterwards."""

    email = StringField("Email")
    password = PasswordField("Password")
    next = HiddenField()


@bp.get("/login")
@public
def show() -> Response:
    target = safe_next(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(target, code=303)
    return page("login.html", form=LoginForm(data={"next": target}), refusal="", left="left" in request.args)


@bp.post("/login")
@public
def enter() -> Response:
    form = LoginForm()
    result = action.log_in(
        form.email.data or "",
        form.password.data or "",
        client_ip(),
        browser=browser_secret(),
        agent=request.headers.get("User-Agent", ""),
    )
    if isinstance(result, action.Refused):
        refusal = "Email or password is wrong. The next attempt" if result.looked else "Too many attempts. The next one"
        refusal += f" is possible in {math.ceil(result.wait_seconds)} s."
        if result.wait_seconds <= 0:
            refusal = "Email or password is wrong."
        return page("login.html", status=422, form=form, refusal=refusal)
    start_session(result.session_id)
    response = redirect(safe_next(form.next.data), code=303)
    remember_browser(response, result.browser)
    return response


@bp.post("/logout")
@public
def leave() -> Response:
    at_provider = session.get(AT_PROVIDER, False)
    end_session()
    return redirect("/login?left" if at_provider else "/login", code=303)

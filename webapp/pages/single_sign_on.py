"""Logging in through the provider: to it and back, and out of it.

Each is a plain link: a form could not lead to another site, by the policy that pages of this one have. What the browser
keeps meanwhile stands in its session cookie, signed, for ten minutes; whoever comes back takes it out, good or not.
"""

import secrets
from dataclasses import replace
from typing import Any

from flask import Blueprint, abort, current_app, redirect, request, session
from flask_login import current_user
from werkzeug.wrappers import Response

from shared.counters import CountersUnavailable
from webapp.access import note_event
from webapp.actions import single_sign_on as action
from webapp.addresses import dashboard_url
from webapp.context import NotFound, now
from webapp.first_start import first_actor
from webapp.offload import TooBusy
from webapp.oidc import Attempt
from webapp.render import page, tell
from webapp.security import client_ip, public, safe_next, start_session

bp = Blueprint("single_sign_on", __name__)

ATTEMPTS, AT_PROVIDER = "sign_in", "provider_logout"
_GOOD_FOR_SECONDS = 600
# Of one browser: somebody may begin in two tabs. A cookie holds some 4,000 bytes.
_MOST_ATTEMPTS, _LONGEST_NEXT = 2, 1000


@bp.before_request
def _exists() -> None:
    if current_app.extensions["oidc"] is None:
        abort(404)


@bp.get("/login/provider")
@public
def begin() -> Response:
    target = safe_next(request.args.get("next"))
    if current_user.is_authenticated:
        return redirect(target, code=303)
    found = action.begin(_redirect_uri(), anew="anew" in request.args)
    if isinstance(found, action.Refused):
        return _refused(found, target)
    url, attempt = found
    kept = {
        "state": attempt.state,
        "nonce": attempt.nonce,
        "verifier": attempt.verifier,
        "next": target if len(target) <= _LONGEST_NEXT else "/",
        "at": int(now().timestamp()),
    }
    session[ATTEMPTS] = [*_attempts(), kept][-_MOST_ATTEMPTS:]
    return redirect(url, code=303)


@bp.get("/login/provider/callback")
@public
def finish() -> Response:
    """Where the provider sends people back to, with a code or an error (RFC 6749, 4.1.2)."""
    kept = _taken(request.args.get("state", ""))
    if kept is None:
        if current_user.is_authenticated:
            return redirect("/", code=303)  # the page that was left by logging in, loaded again
        note_event("login_refused", reason="unknown_state")
        message = "This login was used already, was begun in another browser, or took longer than ten minutes."
        return _refused(action.Refused("unknown_state", f"{message} Please try again.", 400), "/")
    target = safe_next(str(kept["next"]))
    code = request.args.get("code", "")
    if not code:
        return _refused(_by_provider(request.args.get("error", "")), target)
    actor = first_actor()
    if actor is None:
        raise NotFound
    attempt = Attempt(kept["state"], kept["nonce"], kept["verifier"])
    agent = request.headers.get("User-Agent", "")
    try:
        found = action.finish(replace(actor, ip=client_ip()), code, attempt, _redirect_uri(), agent=agent)
    except (TooBusy, CountersUnavailable):
        # The code is used up, so that this page cannot be asked again.
        found = action.Refused("busy", "Too much is under way at the moment. Please try again.", 503)
    if isinstance(found, action.Refused):
        return _refused(found, target)
    start_session(found.session_id)
    session[AT_PROVIDER] = found.has_logout
    if found.kept_role:
        tell("Your groups give you another role. You stay an administrator as long as there is no other one.")
    return redirect(target, code=303)


@bp.get("/logout/provider")
@public
def leave() -> Response:
    """Out of the provider too. Whoever follows this link is logged out here already, or stays logged in here."""
    found = action.logout_url(f"{dashboard_url()}/login")
    return _refused(found, "/") if isinstance(found, action.Refused) else redirect(found, code=303)


def _redirect_uri() -> str:
    return f"{dashboard_url()}/login/provider/callback"


def _attempts() -> list[dict[str, Any]]:
    """Those of this browser that may still come back."""
    since = now().timestamp() - _GOOD_FOR_SECONDS
    return [kept for kept in session.get(ATTEMPTS, ()) if kept["at"] >= since]


def _taken(state: str) -> dict[str, Any] | None:
    """The attempt that began with this state, which cannot come back a second time; None when there is none."""
    found, rest = None, []
    for kept in _attempts():
        if secrets.compare_digest(kept["state"].encode(), state.encode("utf-8", "surrogatepass")):
            found = kept
        else:
            rest.append(kept)
    if ATTEMPTS in session:
        session[ATTEMPTS] = rest
    return found


def _by_provider(error: str) -> action.Refused:
    """What the provider sent instead of a code. Its words are not repeated: anybody can write them into a link."""
    note_event("login_refused", reason="provider_error")
    if error == "access_denied":
        message = "The sign-in provider let nobody in: you said no there, or you may not use this router."
        return action.Refused("access_denied", message)
    if error in ("temporarily_unavailable", "server_error"):
        return action.Refused(error, "The sign-in provider cannot log you in at the moment. Please try again.", 503)
    message = "The sign-in provider refuses to log anybody in to this router. Please tell an administrator."
    return action.Refused("provider_error", message, 502)


def _refused(refused: action.Refused, target: str) -> Response:
    # The address of this page holds what the provider sent; what leads back to it would send that once more.
    return page("login_refused.html", status=refused.status, message=refused.message, target=target, here="/login")

"""Who comes in: sessions of staff, and one gate before every request, by the mark that each view carries.

Pages know people by their session, `/v1` knows tokens by their bearer header; neither takes the other's.
"""

from datetime import timedelta

from flask import Flask, Response, abort, current_app, g, redirect, request, session
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, current_user, login_user, logout_user
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as BaseResponse

from shared.models import ROLES
from webapp.access import (
    RoleNeeded,
    access_of,
    anyone_known,
    client_ip,
    current_actor,
    may,
    note_event,
    public,
    require,
    scope,
)
from webapp.actions import login
from webapp.api.bearer import authenticate
from webapp.urls import host_of, login_address, path_of, safe_next

__all__ = [
    "StaffUser",
    "access_of",
    "anyone_known",
    "browser_secret",
    "client_ip",
    "csrf",
    "current_actor",
    "end_session",
    "init_app",
    "login_manager",
    "may",
    "public",
    "remember_browser",
    "require",
    "safe_next",
    "scope",
    "start_session",
]

csrf = CSRFProtect()
login_manager = LoginManager()

_UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_FORMS = frozenset(("application/x-www-form-urlencoded", "multipart/form-data"))
_A_YEAR_SECONDS = 365 * 86_400


class StaffUser:
    """The logged-in person, as Flask-Login and templates want it (`current_user`)."""

    is_authenticated = True
    is_active = True
    is_anonymous = False

    def __init__(self, session_id: str, staff: login.Staff) -> None:
        self._session_id = session_id
        self.user_id = staff.user_id
        self.org_id = staff.org_id
        self.email = staff.email
        self.role = staff.role

    def get_id(self) -> str:
        """What the cookie holds: the random id of the session."""
        return self._session_id


def start_session(session_id: str) -> None:
    """Put a session from `login.log_in` into the cookie; whatever stood there before ends."""
    if current_user.is_authenticated:
        login.log_out(current_user.get_id())
    staff = login.open_session(session_id)
    if staff is None:
        abort(401)
    session.clear()
    session.permanent = True
    login_user(StaffUser(session_id, staff))


def browser_secret() -> str:
    """By what this browser is known, if somebody has logged in with it before; "" otherwise."""
    return request.cookies.get(_browser_cookie(), "")


def remember_browser(response: BaseResponse, secret: str) -> None:
    """Let the browser keep by what it is known. It opens nothing, it keeps strangers' guesses apart from its own."""
    response.set_cookie(
        _browser_cookie(), secret, max_age=_A_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure
    )


def _browser_cookie() -> str:
    return "__Host-browser" if request.is_secure else "browser"


def end_session() -> None:
    """Delete the session on the server and in the cookie."""
    if current_user.is_authenticated:
        note_event("logged_out")
        login.log_out(current_user.get_id())
    logout_user()
    session.clear()


def init_app(app: Flask) -> None:
    """Sessions, login, the gate, the check of origins, CSRF: in this order before each request."""
    app.session_interface = _SessionInterface()
    app.config.update(
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        PERMANENT_SESSION_LIFETIME=timedelta(hours=12),
        SESSION_REFRESH_EACH_REQUEST=False,
        WTF_CSRF_TIME_LIMIT=None,
        WTF_CSRF_SSL_STRICT=False,  # `_refuse_foreign_origin` looks at more than the Referer
    )
    login_manager.session_protection = None
    login_manager.user_loader(_load)
    # Its context processor looks up the person for every template, also for the page that says the database is away.
    login_manager.init_app(app, add_context_processor=False)
    app.before_request(_gate)
    app.before_request(_refuse_foreign_origin)
    csrf.init_app(app)


class _SessionInterface(SecureCookieSessionInterface):
    """Under TLS the cookie is Secure and its name binds it to this host (RFC 6265bis, cookie prefixes)."""

    def get_cookie_name(self, app: Flask) -> str:  # noqa: ARG002
        return "__Host-session" if request.is_secure else "session"

    def get_cookie_secure(self, app: Flask) -> bool:  # noqa: ARG002
        return request.is_secure


def _load(session_id: str) -> StaffUser | None:
    staff = login.open_session(session_id)
    known = None if staff is None else StaffUser(session_id, staff)
    g.staff = known
    return known


def _gate() -> BaseResponse | None:
    if (refusal := request.environ.get("webapp.refusal")) is not None:
        abort(refusal)  # the server could not read the whole request, see `webapp.serving`
    if request.endpoint is None:
        return None  # 404 or 405: there is nothing to enter
    if not request.path.isprintable():
        abort(404)  # no id of ours has such characters, and PostgreSQL would not even take them
    access = access_of(current_app, request.endpoint)
    kind, _, name = (access or "").partition(":")
    if kind == "scope":
        g.actor = authenticate(client_ip(), name)
        return None
    if kind == "known" and request.authorization is not None:
        g.actor = authenticate(client_ip(), None)
        return None
    if request.method in _UNSAFE and not _is_form():
        note_event("content_refused")
        abort(415)
    if access == "public":
        return None
    if kind not in ("role", "known"):
        abort(403)
    if not current_user.is_authenticated:
        return _to_login()
    if kind == "role" and ROLES.index(current_user.role) < ROLES.index(name):
        note_event("role_refused", needs=name)
        raise RoleNeeded(name)
    return None


def _is_form() -> bool:
    """Pages take forms, and nothing that would have to be understood otherwise; a button alone sends no content."""
    return request.mimetype in _FORMS or (not request.content_length and not request.mimetype)


def _to_login() -> BaseResponse:
    """To the login page, and back afterwards; a fragment's request is told to move the whole window."""
    if request.headers.get("HX-Request"):
        target = login_address(path_of(request.headers.get("HX-Current-URL", "")))
        return Response("Your session has ended. Please log in.", 401, {"HX-Redirect": target}, mimetype="text/plain")
    if request.method == "GET":
        return redirect(login_address(request.full_path.rstrip("?")), code=303)
    # A form that was sent is not sent again by a redirect; the page it stood on is where its draft comes back.
    sender = request.referrer or ""
    return redirect(login_address(path_of(sender) if host_of(sender) == request.host else "/"), code=303)


def _refuse_foreign_origin() -> None:
    """Refuse a change that another site's page sends, whatever token it carries.

    Browsers state where a request comes from in Sec-Fetch-Site (Fetch Metadata) and in Origin (RFC 6454).
    """
    if request.method not in _UNSAFE or "actor" in g:
        return
    site, origin = request.headers.get("Sec-Fetch-Site"), request.headers.get("Origin")
    foreign = site not in ("same-origin", "none") if site is not None else False
    if site is None and origin is not None:
        foreign = host_of(origin) != request.host
    if foreign:
        note_event("foreign_origin")
        abort(403)

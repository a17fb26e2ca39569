"""Who comes in: sessions of staff, and one gate before every request, by the mark that each view carries.

Pages know people by their session, `/v1` knows tokens by their bearer header; neither takes the other's.
"""

from datetime import timedelta
from urllib.parse import quote, urlsplit

from flask import Flask, Response, abort, current_app, g, redirect, request, session
from flask.sessions import SecureCookieSessionInterface
from flask_login import LoginManager, current_user, login_user, logout_user
from flask_wtf.csrf import CSRFProtect
from werkzeug.wrappers import Response as BaseResponse

from shared.models import ROLES
from webapp.access import access_of, anyone_known, client_ip, current_actor, may, public, require, scope
from webapp.actions import login
from webapp.api.bearer import authenticate

__all__ = [
    "StaffUser",
    "access_of",
    "anyone_known",
    "client_ip",
    "csrf",
    "current_actor",
    "end_session",
    "init_app",
    "login_manager",
    "may",
    "public",
    "require",
    "safe_next",
    "scope",
    "start_session",
]

csrf = CSRFProtect()
login_manager = LoginManager()

_UNSAFE = frozenset(("POST", "PUT", "PATCH", "DELETE"))
_LONGEST_NEXT = 2000


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


def end_session() -> None:
    """Delete the session on the server and in the cookie."""
    if current_user.is_authenticated:
        login.log_out(current_user.get_id())
    logout_user()
    session.clear()


def safe_next(text: str | None) -> str:
    """Where to go after login: a path on this site, or "/" when `text` is anything else."""
    if not text or len(text) > _LONGEST_NEXT or not text.startswith("/") or text.startswith("//"):
        return "/"
    if "\\" in text or not text.isprintable() or not text.isascii():
        return "/"
    parts = urlsplit(text)
    return "/" if parts.scheme or parts.netloc else text


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
    login_manager.init_app(app)
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
    return None if staff is None else StaffUser(session_id, staff)


def _gate() -> BaseResponse | None:
    if request.endpoint is None:
        return None  # 404 or 405: there is nothing to enter
    access = access_of(current_app, request.endpoint)
    if access == "public":
        return None
    kind, _, name = (access or "").partition(":")
    if kind == "scope":
        g.actor = authenticate(client_ip(), name)
        return None
    if kind == "known" and request.authorization is not None:
        g.actor = authenticate(client_ip(), None)
        return None
    if kind not in ("role", "known"):
        abort(403)
    if not current_user.is_authenticated:
        return _to_login()
    if kind == "role" and ROLES.index(current_user.role) < ROLES.index(name):
        abort(403)
    return None


def _to_login() -> BaseResponse:
    """To the login page, and back afterwards; a fragment's request is told to move the whole window."""
    if request.headers.get("HX-Request"):
        seen = urlsplit(request.headers.get("HX-Current-URL", ""))
        path = f"{seen.path}?{seen.query}" if seen.query else seen.path
        target = f"/login?next={quote(safe_next(path), safe='/')}"
        return Response("Your session has ended. Please log in.", 401, {"HX-Redirect": target}, mimetype="text/plain")
    path = request.full_path.rstrip("?") if request.method == "GET" else "/"
    return redirect(f"/login?next={quote(safe_next(path), safe='/')}", code=303)


def _refuse_foreign_origin() -> None:
    """Refuse a change that another site's page sends, whatever token it carries.

    Browsers state where a request comes from in Sec-Fetch-Site (Fetch Metadata) and in Origin (RFC 6454).
    """
    if request.method not in _UNSAFE or "actor" in g:
        return
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        if site not in ("same-origin", "none"):
            abort(403)
        return
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        abort(403)

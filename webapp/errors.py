"""Every error answer, made here: problem+json under `/v1`, a plain page elsewhere; never a stack trace.

Exceptions of actions and of the outside world are translated here and nowhere else.
"""

import logging
from http import HTTPStatus

from flask import Flask, Response, g, render_template, request
from flask_login import current_user
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DataError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException

from shared.counters import CountersUnavailable
from shared.secret_text import masked
from webapp.access import RoleNeeded, note_event
from webapp.actions.policy import NotInForce
from webapp.api.problems import Problem, problem_of
from webapp.context import Conflict, NotFound
from webapp.offload import TooBusy
from webapp.queries.users import administrators
from webapp.validation import FieldError, Invalid

log = logging.getLogger(__name__)

_WORDS = {
    400: ("bad_request", "The request cannot be understood."),
    401: ("not_logged_in", "Please log in."),
    403: ("forbidden", "You may not do this."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This address does not take such a request."),
    408: ("request_timeout", "The request did not arrive in time. Please send it again."),
    409: ("conflict", "The state of the thing does not allow this."),
    412: ("version_mismatch", "Somebody else changed this in the meantime."),
    413: ("request_too_large", "The request is larger than 1 MB, or has too many parts."),
    415: ("unsupported_media_type", "This kind of content is not taken here."),
    422: ("invalid", "Some of the input cannot be taken."),
    500: ("internal_error", "Something went wrong on our side. It is logged under the request id."),
    503: ("unavailable", "A part of the router does not answer at the moment. Please try again."),
}
# On pages; programs get the phrase of the status.
_TITLES = {
    403: "Not allowed",
    500: "Something went wrong",
    503: "Not available at the moment",
}
_PASSING = (408, 500, 503)  # may be over by the next try


def init_app(app: Flask) -> None:
    """Register a translation for each kind of exception."""
    app.register_error_handler(Problem, _answer)
    for raised in (Invalid, Conflict, NotInForce):
        app.register_error_handler(raised, lambda error: _answer(problem_of(error)))
    app.register_error_handler(NotFound, _missing)
    app.register_error_handler(CountersUnavailable, _unavailable)
    app.register_error_handler(SQLAlchemyError, _unavailable)
    app.register_error_handler(DataError, _unstorable)
    app.register_error_handler(UnicodeEncodeError, _unstorable)
    app.register_error_handler(TooBusy, _busy)
    app.register_error_handler(CSRFError, _csrf)
    app.register_error_handler(RoleNeeded, _role_needed)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _fault)


def _missing(_: NotFound) -> Response:
    """Of another organisation, or of nobody: nobody is told which."""
    note_event("unknown_id")
    return _answer(problem_of(NotFound()))


def _unstorable(error: Exception) -> Response:
    """Text that no database takes, such as a NUL, and that nothing before noticed."""
    log.warning("%s: %s: a value cannot be stored", g.get("request_id"), type(error).__name__)
    return _problem(400)


def _busy(_: TooBusy) -> Response:
    response = _problem(503)
    response.headers["Retry-After"] = "1"
    return response


def _csrf(error: CSRFError) -> Response:
    note_event("csrf_refused", reason=error.description)
    return _answer(Problem(403, "csrf", "This form is out of date or came from another site. Reload and try again."))


def _role_needed(error: RoleNeeded) -> Response:
    """Which role it takes, and who gives it; these are the person's own colleagues."""
    article = {"admin": "an administrator"}.get(error.role, f"a {error.role}")
    givers = " or ".join(administrators(current_user.org_id, 3)) or "An administrator"
    detail = f"Only {article} may do this, and you are a {current_user.role}. {givers} can give you that role."
    return _answer(Problem(403, "role_needed", detail))


def _http(error: HTTPException) -> Response:
    if error.response is not None and isinstance(error.response, Response):
        return error.response
    response = _problem(error.code or 500)
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _unavailable(error: Exception) -> Response:
    """The world's fault is one line in the log; a statement that the database does not understand is ours."""
    ours = isinstance(error, SQLAlchemyError) and not isinstance(error, OperationalError | PoolTimeout)
    cause = getattr(error, "orig", None) or error
    log.error("%s: %s: %s", g.get("request_id"), type(error).__name__, cause, exc_info=error if ours else None)
    return _problem(503)


def _fault(error: Exception) -> Response:
    """The edge of the process: whatever nobody expected is logged whole and told as nothing but its request id."""
    log.error("%s failed", g.get("request_id"), exc_info=error)
    return _problem(500)


def _problem(status: int) -> Response:
    code, detail = _WORDS.get(status) or ("error", HTTPStatus(status).phrase)
    return _answer(Problem(status, code, detail))


def _answer(problem: Problem) -> Response:
    # Whoever pasted a secret where it does not belong is not shown it again, wherever the text was made.
    problem.detail = masked(problem.detail)
    problem.errors = tuple(FieldError(masked(error.field), masked(error.message)) for error in problem.errors)
    if _is_json():
        return problem.response()
    if request.headers.get("HX-Request"):
        return Response(problem.detail, problem.status, problem.headers, mimetype="text/plain")
    html = render_template(
        "error.html",
        title=_TITLES.get(problem.status) or HTTPStatus(problem.status).phrase,
        message=problem.detail,
        request_id=g.get("request_id"),
        known=_is_known(problem.status),
        again=request.full_path.rstrip("?") if request.method == "GET" and problem.status in _PASSING else "",
    )
    return Response(html, problem.status, {"Cache-Control": "no-store", **problem.headers})


def _is_known(status: int) -> bool:
    """Whether the page has its navigation. After a fault nobody is asked who this is: it may be what failed."""
    if status >= 500:
        return g.get("staff") is not None
    try:
        return bool(current_user.is_authenticated)
    except SQLAlchemyError:
        return False


def _is_json() -> bool:
    return request.path == "/v1" or request.path.startswith("/v1/") or request.path == "/openapi.json"

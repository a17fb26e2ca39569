"""The theme, which each browser keeps in a cookie: as the device has it, light or dark."""

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from webapp.render import THEME_COOKIE, THEMES, is_fragment
from webapp.security import public, safe_next

bp = Blueprint("theme", __name__)
_A_YEAR_SECONDS = 365 * 86_400


@bp.post("/theme")
@public
def choose() -> Response:
    """Back to the page that the switch stood on; htmx is told by an event, and the page stays as it is."""
    chosen = request.form.get("theme", "")
    response: Response = Response(status=204) if is_fragment() else redirect(safe_next(request.form.get("next")), 303)
    if chosen in THEMES:
        response.headers["HX-Trigger"] = f'{{"theme":"{chosen}"}}'
        response.set_cookie(
            THEME_COOKIE, chosen, max_age=_A_YEAR_SECONDS, httponly=True, samesite="Lax", secure=request.is_secure
        )
    return response

"""The front door, which leads to the overview."""

from flask import Blueprint, redirect
from werkzeug.wrappers import Response

from webapp.security import require

bp = Blueprint("home", __name__)


@bp.get("/")
@require("viewer")
def index() -> Response:
    return redirect("/overview", code=303)

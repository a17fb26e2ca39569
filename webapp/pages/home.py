"""The front door, which leads to the keys."""

from flask import Blueprint, redirect
from werkzeug.wrappers import Response

from webapp.security import require

bp = Blueprint("home", __name__)


@bp.get("/")
@require("viewer")
def index() -> Response:
    return redirect("/keys", code=303)

"""Is this process alive? Says nothing else, to anybody."""

from flask import Blueprint

from webapp.access import public

bp = Blueprint("health", __name__)


@bp.get("/healthz")
@public
def healthz() -> dict[str, bool]:
    """Alive, as far as this process can tell without asking anything else."""
    return {"alive": True}

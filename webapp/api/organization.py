"""`/v1/organization`: the organisation itself."""

from typing import Any

from flask import Blueprint, Response

from shared.models import ADMIN_SCOPE
from webapp.access import current_actor
from webapp.actions.organization import update_organization
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.schemas.organization import OrganizationInfo, OrganizationPatch
from webapp.views.organization import standing_of

bp = Blueprint("api_organization", __name__, url_prefix="/v1/organization")


@bp.get("")
@operation("getOrganization", "keys:read", OrganizationInfo, "The organisation")
def show() -> Response:
    """Read the organisation of the token."""
    return answer(_told())


@bp.patch("")
@operation("updateOrganization", ADMIN_SCOPE, OrganizationInfo, "The organisation as it is now", body=OrganizationPatch)
def update(document: dict[str, Any]) -> Response:
    """Change its name, what all keys may use together, what new keys get, and the most that each may have."""
    update_organization(current_actor(), document, served=_told().model_dump(mode="json"))
    return answer(_told())


def _told() -> OrganizationInfo:
    return OrganizationInfo.model_validate(standing_of(current_actor().org_id))

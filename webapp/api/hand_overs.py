"""`/v1/keys/{key_id}/hand-overs`: links that show a key's secret once."""

from typing import Any

from flask import Blueprint, Response

from webapp.access import current_actor
from webapp.actions.hand_overs import end_hand_over, hand_over
from webapp.addresses import dashboard_url
from webapp.api.answers import answer
from webapp.api.keys import ID
from webapp.api.spec import operation
from webapp.queries.hand_overs import list_hand_overs
from webapp.schemas.hand_overs import CreatedHandOver, HandOverInfo, HandOverList, NewHandOver

bp = Blueprint("api_hand_overs", __name__, url_prefix="/v1/keys/<key_id>/hand-overs")


@bp.get("")
@operation("listHandOvers", "keys:read", HandOverList, "Those that can still be opened", path=ID, problems=(404,))
def index(key_id: str) -> Response:
    """List the links that show a secret of a proxy key once."""
    views = list_hand_overs(current_actor().org_id, key_id)
    return answer(HandOverList(data=[HandOverInfo.model_validate(view) for view in views]))


@bp.post("")
@operation(
    "createHandOver",
    "keys:write",
    CreatedHandOver,
    "The link, and in `url` its address, this once",
    status=201,
    path=ID,
    body=NewHandOver,
    problems=(404, 409),
)
def create(key_id: str, document: dict[str, Any]) -> Response:
    """Make a link that shows a secret once, within 24 hours, in the place of the key's earlier link.

    Send the secret that the creation or the rotation of the key answered with. It is kept sealed until it is seen.
    """
    created = hand_over(current_actor(), key_id, document)
    told = HandOverInfo.model_validate(created.view).model_dump()
    return answer(CreatedHandOver(**told, url=f"{dashboard_url()}/hand-over/{created.token}"), 201)


@bp.delete("/<hand_over_id>")
@operation(
    "endHandOver",
    "keys:write",
    HandOverInfo,
    "The link that was",
    path={**ID, "hand_over_id": "The link's id, hov_ and 26 characters."},
    problems=(404,),
)
def remove(key_id: str, hand_over_id: str) -> Response:
    """Make a link worth nothing, and forget the secret behind it. The key stays as it is."""
    return answer(HandOverInfo.model_validate(end_hand_over(current_actor(), key_id, hand_over_id)))

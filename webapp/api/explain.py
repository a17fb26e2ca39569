"""`/v1/keys/{id}/check`, `/requests` and `/refusals`: what a key did, what it was refused, and what it would be."""

from typing import Any

from flask import Blueprint, Response

from webapp.access import current_actor
from webapp.api.answers import answer
from webapp.api.keys import ID
from webapp.api.spec import operation
from webapp.queries.check import check_request
from webapp.queries.requests import refusals_of_key, requests_of_key
from webapp.schemas.explain import (
    Check,
    CheckRequest,
    Refusal,
    RefusalList,
    RefusalQuery,
    Request,
    RequestList,
    RequestQuery,
)

bp = Blueprint("api_explain", __name__, url_prefix="/v1/keys")


@bp.post("/<key_id>/check")
@operation("checkKey", "keys:read", Check, "What would become of it", path=ID, body=CheckRequest, problems=(404,))
def check(key_id: str, document: dict[str, Any]) -> Response:
    """Tell what would become of a request of this key; nothing is charged."""
    view = check_request(current_actor().org_id, key_id, document)
    return answer(Check.model_validate(view.as_json()))


@bp.get("/<key_id>/requests")
@operation("listKeyRequests", "usage:read", RequestList, "A page", path=ID, query=RequestQuery, problems=(404,))
def requests(key_id: str, query: RequestQuery) -> Response:
    """List what a key sent to providers, newest first."""
    page = requests_of_key(current_actor().org_id, key_id, query)
    data = [Request.model_validate(view) for view in page.items]
    return answer(RequestList(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor))


@bp.get("/<key_id>/refusals")
@operation("listKeyRefusals", "usage:read", RefusalList, "A page", path=ID, query=RefusalQuery, problems=(404,))
def refusals(key_id: str, query: RefusalQuery) -> Response:
    """List what a key was refused for, the latest first."""
    page = refusals_of_key(current_actor().org_id, key_id, query)
    data = [Refusal.model_validate(view) for view in page.items]
    return answer(RefusalList(data=data, has_more=page.next_cursor is not None, next_cursor=page.next_cursor))

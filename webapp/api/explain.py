"""`/v1/keys/{id}/check`, `/requests` and `/refusals`: what a key did, what it was refused, and what it would be."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response

from webapp.access import current_actor, scope
from webapp.api.answers import a_page, as_json, limit, parameters
from webapp.api.document import read_document
from webapp.queries.check import check_request, read_asked
from webapp.queries.requests import Page, refusals_of_key, requests_of_key

bp = Blueprint("api_explain", __name__, url_prefix="/v1/keys")

_PAGE = ("limit", "cursor")


@bp.post("/<key_id>/check")
@scope("keys:read")
def check(key_id: str) -> Response:
    """What would become of a request; nothing is charged."""
    return as_json(check_request(current_actor().org_id, key_id, read_asked(read_document())).as_json())


@bp.get("/<key_id>/requests")
@scope("usage:read")
def requests(key_id: str) -> Response:
    """Its attempts at providers, newest first."""
    return _listed(requests_of_key, key_id)


@bp.get("/<key_id>/refusals")
@scope("usage:read")
def refusals(key_id: str) -> Response:
    """What it was refused for, the latest first."""
    return _listed(refusals_of_key, key_id)


def _listed(find: Callable[..., Page[Any]], key_id: str) -> Response:
    asked = parameters(_PAGE)
    page = find(current_actor().org_id, key_id, limit=limit(asked.get("limit")), cursor=asked.get("cursor"))
    return a_page([view.as_json() for view in page.items], page.next_cursor)

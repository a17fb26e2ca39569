"""`/v1/requests` and `/v1/refusals`: what all keys of the organisation did, or one of them, the newest first."""

from flask import Blueprint, Response

from webapp.access import current_actor
from webapp.api.answers import answer
from webapp.api.spec import operation
from webapp.queries.activity import list_refused, list_sent
from webapp.schemas.activity import RefusedFilter, SentFilter
from webapp.schemas.explain import Refusal, RefusalList, Request, RequestList

bp = Blueprint("api_activity", __name__, url_prefix="/v1")


@bp.get("/requests")
@operation("listRequests", "usage:read", RequestList, "A page", query=SentFilter, problems=(404,))
def requests(query: SentFilter) -> Response:
    """List what keys sent to providers, newest first.

    A page looks through 10,000 requests at most: it may hold fewer than `limit`, or none, while `has_more` is true.
    """
    page = list_sent(current_actor().org_id, query)
    cursor = None if page.place is None else query.cursor_behind(page.place)
    data = [Request.model_validate(view) for view in page.rows]
    return answer(RequestList(data=data, has_more=cursor is not None, next_cursor=cursor))


@bp.get("/refusals")
@operation("listRefusals", "usage:read", RefusalList, "A page", query=RefusedFilter, problems=(404,))
def refusals(query: RefusedFilter) -> Response:
    """List what keys were refused for, the latest first: one entry for each key and reason.

    A page looks through 10,000 of them at most, as those of requests do.
    """
    page = list_refused(current_actor().org_id, query)
    cursor = None if page.place is None else query.cursor_behind(page.place)
    data = [Refusal.model_validate(view) for view in page.rows]
    return answer(RefusalList(data=data, has_more=cursor is not None, next_cursor=cursor))

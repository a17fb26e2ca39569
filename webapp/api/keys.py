"""`/v1/keys`: create, list, read, edit, pause and revoke proxy keys, and what one used."""

import csv
import io
import re
from datetime import timedelta
from typing import Any, get_args

from flask import Blueprint, Response, request

from webapp.access import current_actor, scope
from webapp.actions import keys as actions
from webapp.api.answers import a_page, as_json, limit, parameters
from webapp.api.document import read_document
from webapp.context import now
from webapp.queries.keys import Page, get_key, list_keys
from webapp.queries.usage import GroupBy, UsageLine, UsageTable, usage_of_key
from webapp.validation import FieldError, Invalid, bounded_days, parse_day
from webapp.views.keys import KeyView

bp = Blueprint("api_keys", __name__, url_prefix="/v1/keys")

_LIST_PARAMETERS = ("limit", "cursor", "status", "q", "sort")
_USAGE_PARAMETERS = ("from", "to", "group_by", "format")
_TAG = re.compile(r'"v(\d{1,9})"')
_NO_SUCH_VERSION = -1
_DEFAULT_DAYS = 30


@bp.post("")
@scope("keys:write")
def create() -> Response:
    """201 with the raw secret, this once; a replay of the same Idempotency-Key has no secret."""
    created = actions.create_key(
        current_actor(), read_document(), idempotency_key=request.headers.get("Idempotency-Key")
    )
    document = created.view.as_json()
    if created.secret is not None:
        document["key"] = created.secret
    response = _answer(document, created.view, status=201)
    response.headers["Location"] = f"/v1/keys/{created.view.id}"
    if created.secret is None:
        response.headers["Idempotency-Replayed"] = "true"
    return response


@bp.get("")
@scope("keys:read")
def index() -> Response:
    """The organisation's keys, page by page."""
    asked = parameters(_LIST_PARAMETERS)
    page: Page = list_keys(
        current_actor().org_id,
        limit=limit(asked.get("limit")),
        cursor=asked.get("cursor"),
        status=asked.get("status"),
        q=asked.get("q"),
        sort=asked.get("sort", "-created_at"),
    )
    return a_page([view.as_json() for view in page.keys], page.next_cursor)


@bp.get("/<key_id>")
@scope("keys:read")
def show(key_id: str) -> Response:
    """One key, with its ETag."""
    view = get_key(current_actor().org_id, key_id)
    return _answer(view.as_json(), view)


@bp.patch("/<key_id>")
@scope("keys:write")
def update(key_id: str) -> Response:
    """A merge patch; holds for the first request after this answer."""
    view = actions.update_key(current_actor(), key_id, read_document(), if_version=_if_version())
    return _answer(view.as_json(), view)


@bp.post("/<key_id>/pause")
@scope("keys:write")
def pause(key_id: str) -> Response:
    """The same as a patch of `paused`."""
    return _set_paused(key_id, paused=True)


@bp.post("/<key_id>/resume")
@scope("keys:write")
def resume(key_id: str) -> Response:
    """The same as a patch of `paused`."""
    return _set_paused(key_id, paused=False)


@bp.delete("/<key_id>")
@scope("keys:write")
def revoke(key_id: str) -> Response:
    """Revoke for ever; holds for the first request after this answer."""
    view = actions.revoke_key(current_actor(), key_id)
    return _answer(view.as_json(), view)


@bp.get("/<key_id>/usage")
@scope("usage:read")
def usage(key_id: str) -> Response:
    """Sums of requests, tokens and cost, as JSON or CSV; the last 30 days by default."""
    asked = parameters(_USAGE_PARAMETERS)
    errors, days = [], {}
    for name in ("from", "to"):
        try:
            days[name] = parse_day(asked[name]) if name in asked else None
        except ValueError as error:
            errors.append(FieldError(name, str(error)))
    group_by = asked.get("group_by", "day")
    if group_by not in get_args(GroupBy):
        errors.append(FieldError("group_by", f"must be one of {', '.join(get_args(GroupBy))}"))
    if asked.get("format", "json") not in ("json", "csv"):
        errors.append(FieldError("format", "must be json or csv"))
    if errors:
        raise Invalid(*errors)
    last = days["to"] or max(now().date(), days["from"] or now().date())
    first = days["from"] or last - timedelta(days=min(_DEFAULT_DAYS - 1, last.toordinal() - 1))
    bounded_days(first, last)
    table = usage_of_key(current_actor().org_id, key_id, first, last, group_by)  # type: ignore[arg-type] # checked above
    return _csv(table) if asked.get("format") == "csv" else as_json(_usage_document(table))


def _if_version() -> int | None:
    """The version that If-Match demands; None when any will do. A tag that is none of ours matches nothing."""
    header = request.headers.get("If-Match")
    if header is None or header.strip() == "*":
        return None
    match = _TAG.fullmatch(header.strip())
    return _NO_SUCH_VERSION if match is None else int(match[1])


def _set_paused(key_id: str, *, paused: bool) -> Response:
    view = actions.update_key(current_actor(), key_id, {"paused": paused}, if_version=_if_version())
    return _answer(view.as_json(), view)


def _answer(document: dict[str, Any], view: KeyView, status: int = 200) -> Response:
    response = as_json(document, status)
    response.headers["ETag"] = f'"{view.etag}"'
    return response


def _usage_document(table: UsageTable) -> dict[str, Any]:
    return {
        "from": table.first.isoformat(),
        "to": table.last.isoformat(),
        "group_by": table.group_by,
        "data": [{table.group_by: line.group, **_sums(line)} for line in table.lines],
        "total": _sums(table.total),
    }


def _sums(line: UsageLine) -> dict[str, Any]:
    return {
        "requests": line.requests,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "cost_usd": line.cost_usd,
    }


def _csv(table: UsageTable) -> Response:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow([table.group_by, "requests", "input_tokens", "output_tokens", "cost_usd"])
    for line in table.lines:
        writer.writerow([_inert(line.group), *_sums(line).values()])
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="usage.csv"'}
    return Response(text.getvalue(), 200, headers, content_type="text/csv; charset=utf-8")


def _inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell

"""What keys and the organisation used, as JSON or CSV."""

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Blueprint, Response

from shared.models import USAGE_CLASSES
from webapp.access import current_actor
from webapp.api.answers import Amount, answer, table
from webapp.api.keys import ID
from webapp.api.spec import operation
from webapp.db import one_moment
from webapp.queries.top_keys import top_keys
from webapp.queries.usage import UsageLine as Line
from webapp.queries.usage import UsageTable, usage_of_key, usage_of_organization
from webapp.schemas.lists import OrganizationUsageQuery, UsageQuery, usage_cursor
from webapp.schemas.usage import Usage, UsageLine, UsageSums

bp = Blueprint("api_usage", __name__, url_prefix="/v1")

SUM_COLUMNS = ("requests", "input_tokens", "output_tokens", *USAGE_CLASSES, "cost_usd")
_SUMS = "Sums by group, and of all"
KEYS_A_PAGE = 200


@bp.get("/keys/<key_id>/usage")
@operation("getKeyUsage", "usage:read", Usage, _SUMS, path=ID, query=UsageQuery, kinds=("text/csv",), problems=(404,))
def of_key(key_id: str, query: UsageQuery) -> Response:
    """What a proxy key used, in days of the organisation's time zone; the last 30 by default."""
    return answer_of(usage_of_key(current_actor().org_id, key_id, *query.days, query.group_by), query)


@bp.get("/usage")
@operation("getUsage", "usage:read", Usage, _SUMS, query=OrganizationUsageQuery, kinds=("text/csv",))
def of_organization(query: OrganizationUsageQuery) -> Response:
    """What all proxy keys used, in days of the organisation's time zone; the last 30 by default.

    By key, tag or label the dearest come first, and `total` is of all; by key a page at a time, else, and in CSV, the
    dearest 10,000. By tag it is what keys used that have the tag now.
    """
    if query.group_by == "key" and query.format == "json":
        return _page_of_keys(current_actor().org_id, query)
    return answer_of(usage_of_organization(current_actor().org_id, *query.days, query.group_by), query)


def _page_of_keys(org_id: str, query: OrganizationUsageQuery) -> Response:
    first, last = query.days
    with one_moment():
        page = top_keys(org_id, first, last, query.limit or KEYS_A_PAGE, query.place())
        total = usage_of_organization(org_id, first, last).total
    place = page.next_place
    more = {"has_more": place is not None, "next_cursor": None if place is None else usage_cursor("key", place)}
    return _document(UsageTable(first, last, "key", page.lines, total), more)


def answer_of(found: UsageTable, query: UsageQuery) -> Response:
    """What was found, in the form that was asked for."""
    if query.format == "csv":
        return table("usage", (found.group_by, *SUM_COLUMNS), ((line.group, *sum_cells(line)) for line in found.lines))
    return _document(found, {})


def _document(found: UsageTable, more: Mapping[str, object]) -> Response:
    lines = [line_of(line, found.group_by) for line in found.lines]
    told = {"from_": found.first, "to": found.last, "group_by": found.group_by, "data": lines, **more}
    return answer(Usage.model_validate({**told, "total": sums_of(found.total)}))


def line_of(line: Line, group_by: str) -> UsageLine:
    """The sums of a group, as JSON has them."""
    return UsageLine.model_validate({**_sums(line), group_by: line.group})


def sums_of(line: Line) -> UsageSums:
    """The sums alone."""
    return UsageSums.model_validate(_sums(line))


def sum_cells(line: Line) -> list[object]:
    """The sums, in the order of SUM_COLUMNS."""
    counts: Iterator[int] = (line.classes.get(name, 0) for name in USAGE_CLASSES)
    return [line.requests, line.input_tokens, line.output_tokens, *counts, Amount(line.cost_usd)]


def _sums(line: Line) -> dict[str, Any]:
    return {
        "requests": line.requests,
        "input_tokens": line.input_tokens,
        "output_tokens": line.output_tokens,
        "tokens": line.classes,
        "cost_usd": line.cost_usd,
    }

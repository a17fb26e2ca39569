"""What keys and the organisation used, as JSON or CSV."""

from collections.abc import Iterator
from typing import Any

from flask import Blueprint, Response

from shared.models import USAGE_CLASSES
from webapp.access import current_actor
from webapp.api.answers import Amount, answer, table
from webapp.api.keys import ID
from webapp.api.spec import operation
from webapp.queries.usage import UsageLine as Line
from webapp.queries.usage import UsageTable, usage_of_key, usage_of_organization
from webapp.schemas.lists import UsageQuery
from webapp.schemas.usage import Usage, UsageLine, UsageSums

bp = Blueprint("api_usage", __name__, url_prefix="/v1")

SUM_COLUMNS = ("requests", "input_tokens", "output_tokens", *USAGE_CLASSES, "cost_usd")
_SUMS = "Sums by group, and of all"


@bp.get("/keys/<key_id>/usage")
@operation("getKeyUsage", "usage:read", Usage, _SUMS, path=ID, query=UsageQuery, kinds=("text/csv",), problems=(404,))
def of_key(key_id: str, query: UsageQuery) -> Response:
    """What a proxy key used, in UTC days; the last 30 by default."""
    return answer_of(usage_of_key(current_actor().org_id, key_id, *query.days, query.group_by), query)


@bp.get("/usage")
@operation("getUsage", "usage:read", Usage, _SUMS, query=UsageQuery, kinds=("text/csv",))
def of_organization(query: UsageQuery) -> Response:
    """What all proxy keys used, in UTC days; the last 30 by default.

    By key, tag or label these are the dearest 10,000, in that order; `total` is of all. By tag it is what keys used
    that have the tag now.
    """
    return answer_of(usage_of_organization(current_actor().org_id, *query.days, query.group_by), query)


def answer_of(found: UsageTable, query: UsageQuery) -> Response:
    """What was found, in the form that was asked for."""
    if query.format == "csv":
        return table("usage", (found.group_by, *SUM_COLUMNS), ((line.group, *sum_cells(line)) for line in found.lines))
    lines = [line_of(line, found.group_by) for line in found.lines]
    first, last = query.days
    told = {"from_": first, "to": last, "group_by": query.group_by, "data": lines, "total": sums_of(found.total)}
    return answer(Usage.model_validate(told))


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

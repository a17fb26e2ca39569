"""What keys used, as JSON or CSV."""

from flask import Blueprint, Response

from webapp.access import current_actor
from webapp.api.answers import Amount, answer, table
from webapp.api.keys import ID
from webapp.api.spec import operation
from webapp.queries.usage import UsageTable, usage_of_key
from webapp.schemas.lists import UsageQuery
from webapp.schemas.usage import Usage, UsageLine, UsageSums

bp = Blueprint("api_usage", __name__, url_prefix="/v1")


@bp.get("/keys/<key_id>/usage")
@operation(
    "getKeyUsage", "usage:read", Usage, "Sums by group, and of all", path=ID, query=UsageQuery, kinds=("text/csv",),
    problems=(404,),
)  # fmt: skip
def of_key(key_id: str, query: UsageQuery) -> Response:
    """What a proxy key used, in UTC days; the last 30 by default."""
    return _told(usage_of_key(current_actor().org_id, key_id, *query.days, query.group_by), query)


def _told(found: UsageTable, query: UsageQuery) -> Response:
    lines = [
        UsageLine.model_validate({**UsageSums.model_validate(line).model_dump(), found.group_by: line.group})
        for line in found.lines
    ]
    if query.format == "csv":
        names = (found.group_by, *UsageSums.model_fields)
        return table("usage", names, ([_cell(name, getattr(line, name)) for name in names] for line in lines))
    total = UsageSums.model_validate(found.total)
    first, last = query.days
    return answer(
        Usage.model_validate({"from_": first, "to": last, "group_by": query.group_by, "data": lines, "total": total})
    )


def _cell(name: str, value: object) -> object:
    return Amount(value) if name == "cost_usd" else value

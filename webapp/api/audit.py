"""`/v1/audit`: who changed what, when, from where."""

from flask import Blueprint, Response

from webapp.access import current_actor
from webapp.api.answers import answer, table
from webapp.api.spec import operation
from webapp.csv_cells import json_cell
from webapp.queries.audit import list_audit
from webapp.schemas.audit import AuditEntry, AuditList, AuditQuery
from webapp.schemas.values import to_json_moment

bp = Blueprint("api_audit", __name__, url_prefix="/v1/audit")


@bp.get("")
@operation("listAudit", "keys:read", AuditList, "A page of events", query=AuditQuery, kinds=("text/csv",))
def index(query: AuditQuery) -> Response:
    """List what was changed, the newest first."""
    page = list_audit(current_actor().org_id, query)
    entries = [AuditEntry.model_validate(event) for event in page.events]
    if query.format == "csv":
        names = tuple(AuditEntry.model_fields)
        return table("audit", names, ([_cell(name, getattr(entry, name)) for name in names] for entry in entries))
    return answer(AuditList(data=entries, has_more=page.has_more, next_cursor=page.next_cursor))


def _cell(name: str, value: object) -> object:
    if name == "at":
        return to_json_moment(value)  # type: ignore[arg-type] # the one moment among the columns
    return json_cell(value) if isinstance(value, dict) else value

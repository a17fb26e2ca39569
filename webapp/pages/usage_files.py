"""What was used, as files: CSV, and JSON as the API tells it. They are sent while they are read, however long."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

from flask import Blueprint, request, stream_with_context
from werkzeug.wrappers import Response

from webapp.api.usage import SUM_COLUMNS, line_of, sum_cells, sums_of
from webapp.csv_cells import defused
from webapp.db import one_moment
from webapp.pages import usage_query
from webapp.pages.usage_query import Wanted
from webapp.queries.usage import UsageLine, usage_of_organization
from webapp.queries.usage_export import usage_of_all_keys
from webapp.security import current_actor, require
from webapp.views.calendar import zone_of

bp = Blueprint("usage_files", __name__)

Lines = Iterable[tuple[str, UsageLine]]  # each with the name of its key, "" where it is not of a key
_LINES_AT_ONCE = 200


@bp.get("/usage.csv")
@require("viewer")
def as_csv() -> Response:
    org_id = current_actor().org_id
    asked = usage_query.wanted(request.args, zone_of(org_id))
    return _file(asked, _csv(asked, _lines(org_id, asked)), "text/csv; charset=utf-8", "csv")


@bp.get("/usage.json")
@require("viewer")
def as_json() -> Response:
    org_id = current_actor().org_id
    asked = usage_query.wanted(request.args, zone_of(org_id))
    with one_moment():
        total = usage_of_organization(org_id, *asked.days).total
        lines = _lines(org_id, asked)
    return _file(asked, _json(asked, lines, total), "application/json", "json")


def _lines(org_id: str, asked: Wanted) -> Lines:
    if asked.group_by == "key":
        return usage_of_all_keys(org_id, *asked.days)
    return (("", line) for line in usage_of_organization(org_id, *asked.days, asked.group_by).lines)


def _file(asked: Wanted, parts: Iterator[str], content_type: str, ending: str) -> Response:
    name = f"usage-by-{asked.group_by}-{asked.first}-to-{asked.last}.{ending}"
    headers = {"Cache-Control": "no-store", "Content-Disposition": f'attachment; filename="{name}"'}
    return Response(stream_with_context(parts), 200, headers, content_type=content_type)


def _csv(asked: Wanted, lines: Lines) -> Iterator[str]:
    """With the names of keys, which no spreadsheet takes for formulas."""
    named = ("name",) if asked.group_by == "key" else ()
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow((asked.group_by, *named, *SUM_COLUMNS))
    for number, (name, line) in enumerate(lines, start=1):
        texts = (line.group, name) if named else (line.group,)
        writer.writerow((*map(defused, texts), *sum_cells(line)))
        if number % _LINES_AT_ONCE == 0:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _json(asked: Wanted, lines: Lines, total: UsageLine) -> Iterator[str]:
    """As `GET /v1/usage` answers, but that all keys are there, and in the order of their making."""
    head = {"from": asked.first.isoformat(), "to": asked.last.isoformat(), "group_by": asked.group_by}
    yield json.dumps(head)[:-1] + ', "data": ['
    between = ""
    for _, line in lines:
        yield between + line_of(line, asked.group_by).model_dump_json(by_alias=True)
        between = ",\n"
    yield f'], "total": {sums_of(total).model_dump_json(by_alias=True)}}}'

"""The audit log: who changed what, when, from where. Everybody reads it, nobody changes it."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from flask import Blueprint, Response, redirect, stream_with_context
from werkzeug.wrappers import Response as BaseResponse

from webapp.context import now
from webapp.csv_cells import defused, json_cell
from webapp.db import db
from webapp.pages.audit_presenter import ACTIONS, AREAS, audit_row
from webapp.pages.log_search import SIZES, Choice, has_secret, period_choice, range_of, said_by, size_choice
from webapp.queries.audit import (
    AuditPage,
    AuditView,
    find_actor,
    find_target,
    get_event,
    known_actors,
    list_audit,
    names_of,
    walk_audit,
)
from webapp.queries.timeline import MOST_LOOKED_AT
from webapp.render import append, is_fragment, page, sentence, swapped
from webapp.schemas.audit import AuditQuery
from webapp.schemas.values import to_json_moment
from webapp.security import current_actor, may, require
from webapp.validation import Invalid, read
from webapp.views.calendar import exact

bp = Blueprint("audit", __name__)

_TEXTS = ("actor", "target", "from", "to", "cursor")
_HEAD = ("at", "actor", "actor_name", "action", "target", "target_name", "before", "after", "ip", "id")
_LINES = 200  # of a file, for which names are looked up at once


@dataclass(frozen=True, slots=True)
class Search:
    """What the address asks for: parameters with a value, by name."""

    said: Mapping[str, str]

    @classmethod
    def from_request(cls) -> "Search":
        return cls(said_by(_TEXTS, _choices({})))

    def __getitem__(self, name: str) -> str:
        return self.said.get(name, "")

    @property
    def narrowed(self) -> bool:
        return bool(self.said.keys() - {"limit", "cursor"})

    def choices(self) -> tuple[Choice, ...]:
        return _choices(self.said)

    def href(self, cursor: str = "", path: str = "/audit") -> str:
        """The address of this search, from its first page on or from a place in it."""
        query = urlencode({name: value for name, value in {**self.said, "cursor": cursor}.items() if value})
        return f"{path}?{query}" if query else path

    def query(self, org_id: str, at: datetime) -> AuditQuery:
        """What is asked for, as the API has it: actors and targets may be told by their names. Raises Invalid."""
        said = {name: self[name] for name in ("action", "cursor") if self[name]}
        said["limit"] = self["limit"] or SIZES[0]
        if self["actor"]:
            said["actor"] = find_actor(org_id, self["actor"])
        if self["target"]:
            said["target"] = find_target(org_id, self["target"])
        return read(AuditQuery, said | range_of(self.said, at))


@bp.get("/audit")
@require("viewer")
def index() -> BaseResponse:
    search, at, org_id = Search.from_request(), now(), current_actor().org_id
    if has_secret() and not is_fragment():
        return redirect(search.href(search["cursor"]), code=303)
    problems, found = [], AuditPage((), has_more=False, next_cursor=None)
    try:
        found = list_audit(org_id, search.query(org_id, at))
    except Invalid as error:
        problems = [sentence(f"{one.field} {one.message}") for one in error.errors]
    names = _names(org_id, found.events)
    text = _count_text(found)
    response = page(
        "audit.html",
        "results",
        status=422 if problems else 200,
        search=search,
        problems=problems,
        rows=[audit_row(event, names, at, may_administer=may("admin")) for event in found.events],
        actors=() if is_fragment() else known_actors(org_id),
        count_text=text,
        further=found.looked_back_to is not None,
        first_href=search.href() if search["cursor"] else None,
        next_href=search.href(found.next_cursor) if found.next_cursor else None,
        csv_href=search.href(path="/audit.csv"),
    )
    if is_fragment():
        response.headers["HX-Replace-Url"] = search.href()
        append(response, swapped("count", text))
    return response


@bp.get("/audit/<event_id>")
@require("viewer")
def show(event_id: str) -> Response:
    """One event, with what it was before and after."""
    org_id = current_actor().org_id
    event = get_event(org_id, event_id)
    row = audit_row(event, _names(org_id, [event]), now(), may_administer=may("admin"))
    return page("audit_event.html", "panel", row=row, event=event)


@bp.get("/audit.csv")
@require("viewer")
def download() -> Response:
    """All events that the search finds, as a file that is sent while it is made."""
    search, org_id = Search.from_request(), current_actor().org_id
    asked = search.query(org_id, now())
    headers = {"Cache-Control": "no-store", "Content-Disposition": 'attachment; filename="audit.csv"'}
    lines = stream_with_context(_file(org_id, asked))
    return Response(lines, headers=headers, content_type="text/csv; charset=utf-8")


def _file(org_id: str, asked: AuditQuery) -> Iterator[str]:
    yield _csv([_HEAD])
    for events in _several(walk_audit(org_id, asked)):
        names = _names(org_id, events)
        db.session.rollback()  # a reader may take its time, and others need the connection
        yield _csv([_cells(event, names) for event in events])


def _several(events: Iterable[AuditView]) -> Iterator[list[AuditView]]:
    gathered: list[AuditView] = []
    for event in events:
        gathered.append(event)
        if len(gathered) == _LINES:
            yield gathered
            gathered = []
    if gathered:
        yield gathered


def _cells(event: AuditView, names: Mapping[str, str]) -> list[str]:
    told = (
        to_json_moment(event.at),
        event.actor,
        names.get(event.actor),
        event.action,
        event.target,
        names.get(event.target),
        json_cell(event.before),
        json_cell(event.after),
        event.ip,
        event.id,
    )
    return [defused(cell or "") for cell in told]


def _csv(lines: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(lines)
    return text.getvalue()


def _names(org_id: str, events: Iterable[AuditView]) -> Mapping[str, str]:
    return names_of(org_id, {name for event in events for name in (event.actor, event.target)})


def _choices(said: Mapping[str, str]) -> tuple[Choice, ...]:
    actions = (("", "Any action"), *AREAS.items(), *ACTIONS.items())
    return (Choice("action", "Action", actions, said.get("action", "")), period_choice(said), size_choice(said))


def _count_text(found: AuditPage) -> str:
    shown = len(found.events)
    noun = "event" if shown == 1 else "events"
    if found.looked_back_to is not None:
        back = exact(found.looked_back_to)
        return f"Looked through {MOST_LOOKED_AT:,} events, back to {back}: {shown or 'no'} {noun} found."
    if not shown:
        return "No event found."
    return f"{shown:,} {noun}{' on this page' if found.has_more else ''}"

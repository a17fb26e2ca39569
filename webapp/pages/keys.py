"""The list of keys: search, filter, sort and pages of it, all of them in the address."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from shared.secret_text import MASK, holds_secret, masked
from webapp.context import now
from webapp.pages.key_presenter import row
from webapp.queries.keys import COUNTED, Page, count_keys, list_keys
from webapp.render import append, is_fragment, page, sentence, swapped
from webapp.schemas.lists import KeyQuery
from webapp.security import current_actor, may, require
from webapp.validation import Invalid, read

bp = Blueprint("keys", __name__)

STATUSES = (
    ("", "Any status"),
    ("active", "Active"),
    ("paused", "Paused"),
    ("expired", "Expired"),
    ("revoked", "Revoked"),
)
SORTS = (
    ("-created_at", "Newest first"),
    ("created_at", "Oldest first"),
    ("name", "By name"),
    ("-last_used_at", "Last used"),
    ("expires_at", "Expiring first"),
)
SIZES = ("25", "50", "100")
_LONGEST_SEARCH = 80
_LONGEST_CURSOR = 2000  # a name of 80 characters outside the basic plane makes 1,400


@dataclass(frozen=True, slots=True)
class Filter:
    """A select above the table."""

    name: str
    label: str
    choices: Sequence[tuple[str, str]]
    value: str


@dataclass(frozen=True, slots=True)
class Search:
    """What the address asks for. Values that nobody offered fall back to the first choice."""

    q: str
    status: str
    sort: str
    size: str
    cursor: str

    @classmethod
    def from_request(cls) -> "Search":
        return cls(
            # Whoever pastes a whole secret wants to know which one it is; its prefix tells, the rest must not be kept
            # in addresses. One that is not ours is looked for by nothing.
            q=masked(request.args.get("q", "")).removesuffix("...").replace(MASK, "").strip()[:_LONGEST_SEARCH],
            status=_one_of(request.args.get("status"), [value for value, _ in STATUSES]),
            sort=_one_of(request.args.get("sort"), [value for value, _ in SORTS]),
            size=_one_of(request.args.get("limit"), SIZES),
            cursor=request.args.get("cursor", "")[:_LONGEST_CURSOR],
        )

    def query(self) -> KeyQuery:
        """What is asked for, as the API has it. Raises Invalid."""
        said = {"limit": self.size, "cursor": self.cursor, "status": self.status, "q": self.q, "sort": self.sort}
        return read(KeyQuery, {name: value for name, value in said.items() if value})

    @property
    def narrowed(self) -> bool:
        return bool(self.q or self.status or self.cursor)

    def href(self, cursor: str = "") -> str:
        """The address of this search with nothing in it that goes without saying."""
        defaults = {"sort": SORTS[0][0], "limit": SIZES[0]}
        said = {"q": self.q, "status": self.status, "sort": self.sort, "limit": self.size, "cursor": cursor}
        query = urlencode({name: value for name, value in said.items() if value and defaults.get(name) != value})
        return f"/keys?{query}" if query else "/keys"


@bp.get("/keys")
@require("viewer")
def index() -> Response:
    search, problems = Search.from_request(), []
    if holds_secret(request.args.get("q", "")) and not is_fragment():
        return redirect(search.href(search.cursor), code=303)
    try:
        asked = search.query()
        found, total = list_keys(current_actor().org_id, asked), count_keys(current_actor().org_id, asked)
    except Invalid as error:
        problems = [sentence(f"{wrong.field} {wrong.message}") for wrong in error.errors]
        found, total = Page((), has_more=False, next_cursor=None, total=None), 0
    at = now()
    response = page(
        "keys.html",
        "results",
        status=422 if problems else 200,
        rows=[row(view, at) for view in found.keys],
        search=search,
        problems=problems,
        filters=_filters(search),
        count_text=count_text(len(found.keys), total),
        first_href=search.href() if search.cursor else None,
        next_href=search.href(found.next_cursor) if found.next_cursor else None,
        may_write=may("member"),
    )
    if is_fragment():
        response.headers["HX-Push-Url"] = search.href()
        append(response, swapped("count", count_text(len(found.keys), total)))
    return response


def _filters(search: Search) -> tuple[Filter, ...]:
    return (
        Filter("status", "Status", STATUSES, search.status),
        Filter("sort", "Order", SORTS, search.sort),
        Filter("limit", "Keys a page", [(size, f"{size} a page") for size in SIZES], search.size),
    )


def count_text(shown: int, total: int) -> str:
    """How many keys there are, and how many of them are seen."""
    if not total:
        return "No key found."
    if total > COUNTED:
        return f"{shown} of more than {COUNTED:,} keys on this page"
    keys = "key" if total == 1 else "keys"
    return f"{total:,} {keys}" if shown == total else f"{shown} of {total:,} {keys} on this page"


def _one_of(text: str | None, choices: Sequence[str]) -> str:
    return choices[0] if text is None or text not in choices else text

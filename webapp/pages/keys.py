"""The list of keys: search, filter, sort and pages of it, all of them in the address."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from urllib.parse import parse_qsl, urlencode

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from shared.catalog import PROVIDERS
from shared.secret_text import holds_secret
from webapp.pages.key_rows import rows
from webapp.pages.log_search import LONGEST_SEARCH, Choice, without_secret
from webapp.queries.keys import COUNTED, Page, count_keys, list_keys
from webapp.render import append, block, is_fragment, page, sentence, swapped
from webapp.schemas.lists import KeyQuery
from webapp.schemas.texts import read_tag
from webapp.security import current_actor, may, require
from webapp.urls import query_of
from webapp.validation import Invalid, read
from webapp.views.custom_providers import names_given, provider_labels

bp = Blueprint("keys", __name__)

# Revoked keys stay for ever and are seldom looked for.
STATUSES = (
    ("", "Not revoked"),
    ("active", "Active"),
    ("paused", "Paused"),
    ("expired", "Expired"),
    ("revoked", "Revoked"),
    ("all", "Any status"),
)
ANY_PROVIDER = ("", "Any provider")
LIMITS = (("", "Any limit"), ("true", "With a limit"), ("false", "No limit"))
# Boxes to tick. The first two are always there, the others for whoever comes with them, from the Overview.
FLAGS = (
    ("attention", "Needs attention"),
    ("dormant", "Unused 30 days"),
    ("near_limit", "Near their limit"),
    ("expiring", "Expiring within 7 days"),
    ("refused", "Refused within a day"),
)
_USUAL_FLAGS = 2
SORTS = (
    ("-created_at", "Newest first"),
    ("created_at", "Oldest first"),
    ("name", "Name, A to Z"),
    ("-name", "Name, Z to A"),
    ("-spend", "Spent most"),
    ("spend", "Spent least"),
    ("-last_used_at", "Used last"),
    ("last_used_at", "Unused longest"),
    ("expires_at", "Expiring first"),
    ("-expires_at", "Expiring last"),
)
SIZES = ("25", "50", "100")
# Heads of columns by which the table can be sorted, each with the direction that is wanted first.
_HEADS = (
    ("name", "Key", ""),
    ("spend", "In total", "-"),
    ("last_used_at", "Last used", "-"),
    ("expires_at", "Expires", ""),
)
_NOT_REVOKED = ["active", "paused", "expired"]
_LONGEST_CURSOR = 2000  # a name of 80 characters outside the basic plane makes 1,400


@dataclass(frozen=True, slots=True)
class Head:
    """A head of a column: a link that sorts by it, or turns that round."""

    label: str
    href: str
    sorted: str | None  # as `aria-sort` has it


@dataclass(frozen=True, slots=True)
class Search:
    """What the address asks for. Values that nobody offered fall back to the first choice."""

    q: str
    tag: str
    status: str
    provider: str
    has_limit: str
    attention: str
    dormant: str
    near_limit: str
    expiring: str
    refused: str
    sort: str
    limit: str
    cursor: str

    @classmethod
    def of(cls, args: Mapping[str, str]) -> "Search":
        """From the parameters of an address."""
        return cls(
            # Whoever pastes a whole secret wants to know which one it is; its prefix tells, the rest must not be kept
            # in addresses. One that is not ours is looked for by nothing.
            q=without_secret(args.get("q", ""))[:LONGEST_SEARCH],
            tag=_tag(args.get("tag", "")),
            status=_one_of(args.get("status"), STATUSES),
            provider=_provider(args.get("provider", "")),
            has_limit=_one_of(args.get("has_limit"), LIMITS),
            **{name: "true" if args.get(name) == "true" else "" for name, _ in FLAGS},
            sort=_one_of(args.get("sort"), SORTS),
            limit=_one_of(args.get("limit"), [(size, size) for size in SIZES]),
            cursor=args.get("cursor", "")[:_LONGEST_CURSOR],
        )

    def query(self) -> KeyQuery:
        """What is asked for, as the API has it. Raises Invalid."""
        asked: dict[str, object] = {**self.said, "limit": self.limit}
        if asked.setdefault("status", _NOT_REVOKED) == "all":
            del asked["status"]
        return read(KeyQuery, asked)

    @property
    def narrowed(self) -> bool:
        """Whether there may be keys that it leaves out."""
        return bool(self.said.keys() - {"sort", "limit"})

    def href(self, **changes: str) -> str:
        """The address of this search, or of its first page with some values changed; no more than has to be said."""
        query = urlencode(replace(self, **{"cursor": "", **changes}).said if changes else self.said)
        return f"/keys?{query}" if query else "/keys"

    @property
    def flags(self) -> list[tuple[str, str, bool]]:
        """The boxes that are shown: their names, labels, and whether they are ticked."""
        boxes = [(name, label, bool(getattr(self, name))) for name, label in FLAGS]
        return boxes[:_USUAL_FLAGS] + [box for box in boxes[_USUAL_FLAGS:] if box[2]]

    def is_typed_on(self, before: "Search") -> bool:
        """Whether only the text of the search is another one; such a step is none to go back to."""
        return bool(before.q) and replace(self, q="", cursor="") == replace(before, q="", cursor="")

    @property
    def said(self) -> dict[str, str]:
        """All that does not go without saying."""
        defaults = {"sort": SORTS[0][0], "limit": SIZES[0]}
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in said.items() if value and defaults.get(name) != value}


@bp.get("/keys")
@require("viewer")
def index() -> Response:
    search, problems = Search.of(request.args), []
    if any(holds_secret(request.args.get(name, "")) for name in ("q", "tag")) and not is_fragment():
        return redirect(search.href(), code=303)
    try:
        asked = search.query()
        found, total = list_keys(current_actor().org_id, asked), count_keys(current_actor().org_id, asked)
    except Invalid as error:
        problems = [sentence(f"{wrong.field} {wrong.message}") for wrong in error.errors]
        found, total = Page((), has_more=False, next_cursor=None, total=None), 0
    order = Choice("sort", "Order", SORTS, search.sort)
    response = page(
        "keys.html",
        "results",
        status=422 if problems else 200,
        rows=rows(found.keys),
        search=search,
        problems=problems,
        filters=_filters(search),
        order=order,
        sizes=Choice("limit", "Keys a page", [(size, f"{size} a page") for size in SIZES], search.limit),
        heads={name: _head(search, name, label, first) for name, label, first in _HEADS},
        count_text=count_text(len(found.keys), total),
        first_href=search.href(cursor="") if search.cursor else None,
        next_href=replace(search, cursor=found.next_cursor).href() if found.next_cursor else None,
        revoked_href=search.href(status="all") if search.q and not search.status else None,
        may_write=may("member"),
    )
    if is_fragment():
        before = Search.of(dict(parse_qsl(query_of(request.headers.get("HX-Current-URL", "")))))
        kept = "HX-Replace-Url" if before == search or search.is_typed_on(before) else "HX-Push-Url"
        response.headers[kept] = search.href()
        # The heads of the table change the order too, so its choice in the form has to follow.
        ordered = f"<template>{block('keys.html', 'order', order=order, out_of_band=True)}</template>"
        append(response, swapped("count", count_text(len(found.keys), total)), ordered)
    return response


def _provider(slug: str) -> str:
    """One that there is, or that keys may still have in their lists."""
    return slug if slug in PROVIDERS or (slug and slug in names_given(current_actor().org_id)) else ""


def _filters(search: Search) -> tuple[Choice, ...]:
    return (
        Choice("status", "Status", STATUSES, search.status),
        Choice(
            "provider", "Provider", (ANY_PROVIDER, *provider_labels(current_actor().org_id).items()), search.provider
        ),
        Choice("has_limit", "Spend limit", LIMITS, search.has_limit),
    )


def _head(search: Search, name: str, label: str, first: str) -> Head:
    by, down = search.sort.removeprefix("-"), search.sort.startswith("-")
    if by != name:
        return Head(label, search.href(sort=f"{first}{name}"), None)
    return Head(label, search.href(sort=name if down else f"-{name}"), "descending" if down else "ascending")


def count_text(shown: int, total: int) -> str:
    """How many keys there are, and how many of them are seen."""
    if not total:
        return "No key found."
    if total > COUNTED:
        return f"{shown} of more than {COUNTED:,} keys on this page"
    keys = "key" if total == 1 else "keys"
    return f"{total:,} {keys}" if shown == total else f"{shown} of {total:,} {keys} on this page"


def _tag(text: str) -> str:
    """The tag that is asked for; what can be none is as if not said."""
    try:
        return read_tag(text)
    except ValueError:
        return ""


def _one_of(text: str | None, choices: Sequence[tuple[str, str]]) -> str:
    return text if text is not None and any(text == value for value, _ in choices) else choices[0][0]

"""What keys asked for, what became of it, and what they were refused: two lists, and a page for each row of them."""

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from webapp.context import NotFound, now
from webapp.pages.activity_presenter import moment, priced, refused_row, sent_row, setting_of
from webapp.pages.activity_search import PATHS, Search, Tab
from webapp.pages.log_search import has_secret
from webapp.pages.request_presenter import model_words
from webapp.queries.activity import (
    KeyName,
    corrections_of,
    find_keys,
    find_refused,
    get_refused,
    get_sent,
    is_sent,
    list_refused,
    list_sent,
    names_of_keys,
)
from webapp.queries.keys import get_key
from webapp.queries.timeline import COUNTED, MOST_LOOKED_AT, Stretch
from webapp.render import append, is_fragment, length, page, sentence, signed_dollars, swapped
from webapp.schemas.activity import RefusedFilter, SentFilter
from webapp.security import current_actor, may, require
from webapp.validation import Invalid
from webapp.views.calendar import exact
from webapp.views.keys import KeyView
from webapp.views.refusal_help import help_of
from webapp.views.request_words import TRIES, flag_words
from webapp.views.requests import RefusalView, RequestView

bp = Blueprint("requests", __name__, url_prefix="/requests")

_MOST_KEYS = 10  # that are offered where several are found
# How often a page asks for news, in milliseconds; less often where finding them takes a walk through the ledger.
_SOON, _LATER = 1_000, 5_000
_NOUNS: dict[Tab, tuple[str, str]] = {"sent": ("request", "requests"), "refused": ("refusal", "refusals")}
View = RequestView | RefusalView


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of one of the lists. `keys` are those that somebody may have meant, when more than one is found."""

    found: Stretch[View]
    keys: tuple[KeyName, ...] = ()
    key: KeyName | None = None
    problems: tuple[str, ...] = ()
    elsewhere: str = ""  # the address of what was asked for, where it stands in the other list

    @property
    def digest(self) -> str:
        """Another one as soon as a row comes, goes or is counted up."""
        told = [
            view.id if isinstance(view, RequestView) else f"{view.key_id} {view.reason} {view.count}"
            for view in self.found.rows
        ]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()[:16]


_NOTHING: Stretch[Any] = Stretch((), None, total=0)


@bp.get("")
@require("viewer")
def sent() -> Response:
    return _list("sent")


@bp.get("/refused")
@require("viewer")
def refused() -> Response:
    return _list("refused")


@bp.get("/news")
@require("viewer")
def news() -> Response:
    """Whether a list begins otherwise than it did for whoever has `seen` it: 200, else 204."""
    tab: Tab = "refused" if request.args.get("tab") == "refused" else "sent"
    search = Search.from_request(tab)
    fresh = _listing(replace(search, said={**search.said, "cursor": ""}), now())
    changed = not fresh.problems and fresh.digest != request.args.get("seen", "")
    return Response(status=200 if changed else 204, headers={"Cache-Control": "no-store"}, mimetype="text/plain")


@bp.get("/refused/<key_id>/<reason>")
@require("viewer")
def show_refused(key_id: str, reason: str) -> Response:
    """Why a key was refused, and what to do about it."""
    org_id, at = current_actor().org_id, now()
    view = get_refused(org_id, key_id, reason)
    setting = setting_of(view, _key_of(org_id, key_id))
    return page(
        "refusal.html",
        "panel",
        view=view,
        model=model_words(view.model),
        help=help_of(reason),
        key=names_of_keys(org_id, [key_id]).get(key_id),
        when=moment(view.last_at, at),
        setting=setting,
        may_change=setting is not None and may(setting.role),
    )


@bp.get("/<request_id>")
@require("viewer")
def show_sent(request_id: str) -> Response:
    """One request with all that is known of it. Of a refused one, its refusal."""
    org_id, at = current_actor().org_id, now()
    try:
        view = get_sent(org_id, request_id)
    except NotFound:
        if (denied := find_refused(org_id, request_id)) is None:
            raise
        return redirect(_address_of(denied), code=303)
    return page(
        "request.html",
        "panel",
        view=view,
        row=sent_row(view, names_of_keys(org_id, [view.key_id]).get(view.key_id), at),
        flags=flag_words(view),
        try_words=TRIES,
        parts=priced(view),
        went_on=view.went_on_as is not None and is_sent(org_id, view.went_on_as),
        bound=signed_dollars(view.bound_nanos),
        first_byte=length(view.first_byte_ms),
        corrections=[(one.id, signed_dollars(one.cost_nanos)) for one in corrections_of(org_id, view.id)],
    )


def _key_of(org_id: str, key_id: str) -> KeyView | None:
    try:
        return get_key(org_id, key_id)
    except NotFound:
        return None


def _list(tab: Tab) -> Response:
    search, at = Search.from_request(tab), now()
    if has_secret() and not is_fragment():
        return redirect(search.href(cursor=search["cursor"]), code=303)
    listing = _listing(search, at)
    found = listing.found
    org_id = current_actor().org_id
    names = names_of_keys(org_id, {view.key_id for view in found.rows})
    text = f"Choose one of {len(listing.keys)} keys." if listing.keys else _count_text(tab, found)
    filters = RefusedFilter if tab == "refused" else SentFilter
    following = None if found.place is None else filters.cursor_behind(found.place)
    response = page(
        "requests.html",
        "results",
        status=422 if listing.problems else 200,
        search=search,
        listing=listing,
        tabs=[("sent", "Sent to providers", search.href("sent")), ("refused", "Refused", search.href("refused"))],
        rows=[_row(view, names.get(view.key_id), at) for view in found.rows],
        count_text=text,
        first_href=search.href() if search["cursor"] else None,
        next_href=search.href(cursor=following) if following else None,
        news_href=None if search["cursor"] or listing.problems else search.news_href(listing.digest),
        news_every=_LATER if found.cut_short else _SOON,
        path=PATHS[tab],
    )
    if is_fragment():
        # In the place of the address before: who goes back wants to leave the page, not to take back a filter.
        response.headers["HX-Replace-Url"] = search.href()
        append(response, swapped("count", text))
    return response


def _listing(search: Search, at: datetime) -> Listing:
    org_id = current_actor().org_id
    try:
        if search["id"] and (known := _by_id(org_id, search)) is not None:
            return known
        keys = _keys(org_id, search)
        if len(keys) > 1:
            return Listing(_NOTHING, keys=keys)
        if not keys and (search["q"] or search["key"]):
            return Listing(_NOTHING)
        key = keys[0] if keys else None
        key_id = None if key is None else key.id
        if search.tab == "refused":
            # Of those that were not the last of their kind no id was kept.
            whole = _NOTHING if search["id"] else list_refused(org_id, search.refused(key_id, at))
            return Listing(whole, key=key)
        more = {"provider_request_id": search["id"]} if search["id"] else {}
        return Listing(list_sent(org_id, search.sent(key_id, at, **more)), key=key)
    except Invalid as error:
        return Listing(_NOTHING, problems=tuple(sentence(f"{one.field} {one.message}") for one in error.errors))


def _by_id(org_id: str, search: Search) -> Listing | None:
    """What has this very id in one of the lists; None when nothing has."""
    denied = find_refused(org_id, search["id"])
    try:
        known = get_sent(org_id, search["id"])
    except NotFound:
        known = None
    here: View | None = denied if search.tab == "refused" else known
    if here is not None:
        return Listing(Stretch((here,), None, total=1))
    if denied is not None:
        return Listing(_NOTHING, elsewhere=_address_of(denied))
    return None if known is None else Listing(_NOTHING, elsewhere=f"/requests/{known.id}")


def _keys(org_id: str, search: Search) -> tuple[KeyName, ...]:
    """The keys that are meant; none when all are, or when none is found."""
    if search["q"]:
        return find_keys(org_id, search["q"], _MOST_KEYS)
    return tuple(names_of_keys(org_id, [search["key"]]).values()) if search["key"] else ()


def _row(view: View, key: KeyName | None, at: datetime) -> object:
    return sent_row(view, key, at) if isinstance(view, RequestView) else refused_row(view, key, at)


def _address_of(view: RefusalView) -> str:
    return f"/requests/refused/{view.key_id}/{view.reason}"


def _count_text(tab: Tab, found: Stretch[View]) -> str:
    one, many = _NOUNS[tab]
    shown = len(found.rows)
    noun = one if shown == 1 else many
    if found.cut_short:
        assert found.place is not None  # noqa: S101 - it ended somewhere
        back = exact(found.place[0])
        return f"Looked through {MOST_LOOKED_AT:,} {many}, back to {back}: {shown or 'no'} {noun} found."
    if not shown:
        return f"No {one} found."
    if found.total is None or (found.total <= COUNTED and found.total == shown):
        return f"{shown:,} {noun}" if found.place is None else f"{shown:,} {noun} on this page"
    total = f"more than {COUNTED:,}" if found.total > COUNTED else f"{found.total:,}"
    return f"{shown:,} of {total} {many} on this page"

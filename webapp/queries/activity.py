"""What an organisation's keys did: requests that were sent to providers, and refusals. The newest first."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from shared.models import ProxyKey, Refusal, UsageRecord
from webapp.context import NotFound
from webapp.db import db
from webapp.queries.keys import list_keys
from webapp.queries.timeline import Stretch, stretch
from webapp.schemas.activity import FAILED, RefusedFilter, SentFilter
from webapp.schemas.lists import KeyQuery
from webapp.validation import read
from webapp.views.keys import row_of
from webapp.views.requests import MOST_TRIES, RefusalView, RequestView, refusal_view, request_view

_HUNDREDS = {"2xx": 200, "4xx": 400, "5xx": 500}
MOST_CORRECTIONS = 20
_LONGEST_SEARCH = 80


@dataclass(frozen=True, slots=True)
class KeyName:
    """What a key is called."""

    id: str
    name: str
    prefix: str


def list_sent(org_id: str, asked: SentFilter) -> Stretch[RequestView]:
    """A page of requests that were sent to a provider and have ended. Raises NotFound for a key of nobody here."""
    wanted: list[ColumnElement[bool]] = []
    if asked.model is not None:
        wanted.append(_names(asked.model, UsageRecord.requested_model, UsageRecord.served_model))
    if asked.provider is not None:
        wanted.append(UsageRecord.provider == asked.provider)
    if asked.outcome is not None:
        same = UsageRecord.outcome == ("ok" if asked.outcome == FAILED else asked.outcome)
        wanted.append(~same if asked.outcome == FAILED else same)
    if asked.status is not None:
        wanted.append(_given(asked.status))
    if asked.provider_request_id is not None:
        wanted.append(UsageRecord.provider_request_id == asked.provider_request_id)
    if asked.label is not None:
        wanted.append(UsageRecord.label == asked.label)
    # By the key alone where there is one: databases would take the organisation's index for the key's.
    indexed = _of(org_id, asked.key, UsageRecord.org_id, UsageRecord.key_id)
    rows = stretch(
        (UsageRecord.admitted_at, UsageRecord.id),
        indexed,
        wanted,
        since=asked.since,
        until=asked.until,
        behind=asked.place(),
        limit=asked.limit,
        count=True,
    )
    return replace(rows, rows=tuple(request_view(row) for row in rows.rows))


def list_refused(org_id: str, asked: RefusedFilter) -> Stretch[RefusalView]:
    """A page of refusals, one for each key and reason, by their last time. Raises NotFound as `list_sent`."""
    indexed = _of(org_id, asked.key, Refusal.org_id, Refusal.key_id)
    if asked.reason is not None:
        indexed.append(Refusal.reason == asked.reason)
    rows = stretch(
        (Refusal.last_at, Refusal.key_id, Refusal.reason),
        indexed,
        [] if asked.model is None else [_names(asked.model, Refusal.model)],
        since=asked.since,
        until=asked.until,
        behind=asked.place(),
        limit=asked.limit,
        count=True,
    )
    return replace(rows, rows=tuple(refusal_view(row) for row in rows.rows))


def get_sent(org_id: str, request_id: str) -> RequestView:
    """One of them. Raises NotFound.

    Where all that was sent is a try that was not billed, because no further one came about, it is the first of those.
    """
    ids = (request_id, *(f"{request_id}-{number}" for number in range(1, MOST_TRIES)))
    rows = (db.session.get(UsageRecord, row_id) for row_id in ids)
    row = next((row for row in rows if row is not None), None)
    return request_view(row) if row is not None and row.org_id == org_id else _missing()


def is_sent(org_id: str, request_id: str) -> bool:
    """Whether there is a row of this very id."""
    row = db.session.get(UsageRecord, request_id)
    return row is not None and row.org_id == org_id


def corrections_of(org_id: str, request_id: str) -> tuple[RequestView, ...]:
    """The rows that correct what a request was charged, in the order of their ids."""
    query = select(UsageRecord).where(UsageRecord.adjusts == request_id, UsageRecord.org_id.concat("") == org_id)
    rows = db.session.scalars(query.order_by(UsageRecord.id).limit(MOST_CORRECTIONS))
    return tuple(request_view(row) for row in rows)


def get_refused(org_id: str, key_id: str, reason: str) -> RefusalView:
    """How often a key was refused for a reason, and the last of it. Raises NotFound."""
    row = db.session.get(Refusal, (key_id, reason))
    return refusal_view(row) if row is not None and row.org_id == org_id else _missing()


def find_refused(org_id: str, request_id: str) -> RefusalView | None:
    """The refusal whose last request has this id. Of earlier ones nothing is kept but their count."""
    # No index has this, so that no database goes through all of the organisation's to find the one.
    theirs = Refusal.org_id.concat("") == org_id
    row = db.session.scalar(select(Refusal).where(Refusal.request_id == request_id, theirs).limit(1))
    return None if row is None else refusal_view(row)


def names_of_keys(org_id: str, key_ids: Collection[str]) -> Mapping[str, KeyName]:
    """By id, as far as there are such keys."""
    query = select(ProxyKey.id, ProxyKey.name, ProxyKey.prefix).where(
        ProxyKey.id.in_(set(key_ids)), ProxyKey.org_id == org_id
    )
    return {row.id: KeyName(row.id, row.name, row.prefix) for row in db.session.execute(query)}


def find_keys(org_id: str, text: str, most: int) -> tuple[KeyName, ...]:
    """The keys that somebody may mean: the one with this id, name or prefix, else some of all that are found by it."""
    if (named := names_of_keys(org_id, [text])) != {}:
        return tuple(named.values())
    found = list_keys(org_id, read(KeyQuery, {"q": text[:_LONGEST_SEARCH], "limit": str(most)})).keys
    exactly = [key for key in found if text.casefold() in (key.name.casefold(), key.prefix)]
    return tuple(KeyName(key.id, key.name, key.prefix) for key in (exactly if len(exactly) == 1 else found))


def _of(
    org_id: str, key_id: str | None, org: InstrumentedAttribute[str], key: InstrumentedAttribute[str]
) -> list[ColumnElement[bool]]:
    if key_id is None:
        return [org == org_id]
    return [key == row_of(org_id, key_id).id]


def _names(text: str, *columns: InstrumentedAttribute[Any]) -> ColumnElement[bool]:
    return or_(*(column.icontains(text, autoescape=True) for column in columns))


def _given(status: str) -> ColumnElement[bool]:
    """Whether the client was given such a status."""
    if status == "none":
        return UsageRecord.sent_status.is_(None)
    if (first := _HUNDREDS.get(status)) is not None:
        return UsageRecord.sent_status.between(first, first + 99)
    return UsageRecord.sent_status == int(status)


def _missing() -> NoReturn:
    raise NotFound

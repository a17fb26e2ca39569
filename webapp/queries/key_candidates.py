"""Few among many: filters that an index knows the keys of, so that nobody looks for them among all the others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ARRAY, ColumnElement, Select, String, and_, false, func, literal, select, union

from shared.models import KeyNearLimit, KeySecret, KeyTag, ProxyKey, Refusal
from webapp.db import db
from webapp.queries.key_filters import (
    LIMITED,
    LIVE,
    PAUSED,
    REVOKED,
    UNLIMITED,
    UNUSED,
    Condition,
    beginning,
    begins,
    is_secret,
    opened_by,
    searched,
)
from webapp.queries.key_search import found_by_trigrams
from webapp.schemas.lists import STATUSES, KeyQuery
from webapp.views.attention import BLOCKING, DORMANT, LATELY, LONGEST_BLOCK, SOON

FEW = 5_000  # keys that are read one by one and sorted sooner than they are come upon among a million
_LONGEST_PERIOD = timedelta(days=32)  # and a day for zones
_LIVE_STATES = frozenset(STATUSES) - {"revoked"}


@dataclass(frozen=True, slots=True)
class Narrowing:
    """A filter with indexes of the keys that it leaves.

    `pieces` are ids of theirs, some perhaps several times, and perhaps of some others, each from one place in an index
    on and up to one more than FEW. `by_creation` is set where an index has all of them in the order of their creation:
    with this condition a list in that order walks along it.
    """

    pieces: tuple[Select[Any], ...]
    by_creation: Condition | None = None

    def ids(self) -> Select[Any]:
        if len(self.pieces) == 1:
            return self.pieces[0]
        return select(union(*(select(piece.subquery().c.id) for piece in self.pieces)).subquery().c.id)

    def leaves_few(self) -> bool:
        """Piece by piece first: one that has too many says all, and is counted sooner than all are put together."""
        counts = []
        for piece in self.pieces:
            counts.append(_count(piece))
            if counts[-1] > FEW:
                return False
        return sum(counts) <= FEW or _count(self.ids().limit(FEW + 1)) <= FEW


def narrowings(org_id: str, asked: KeyQuery, at: datetime) -> Iterator[Narrowing]:
    """Those of a list's filters, the narrowest first as a rule."""
    pieces = _Pieces(org_id, at)
    if text := searched(asked):
        if is_secret(text):
            yield Narrowing((select(KeySecret.key_id.label("id")).where(opened_by(text)),))
        elif (found := found_by_trigrams(beginning(text), FEW + 1)) is not None:
            tagged, owned = begins(KeyTag.tag, text), begins(ProxyKey.owner_email, text)
            yield Narrowing((found, pieces.tagged(tagged), pieces.of(owned)))
    if asked.tag is not None:
        yield Narrowing((pieces.tagged(KeyTag.tag == asked.tag),))
    if asked.created_by is not None:
        created: Condition = ProxyKey.created_by == asked.created_by
        yield Narrowing((pieces.of(created),), created)
    yield from _of_active(asked, pieces)
    states = frozenset(asked.status or STATUSES)
    if asked.active_alone:
        states &= {"active"}
    if asked.has_limit is not None:
        limit = and_(LIMITED if asked.has_limit else UNLIMITED, LIVE)
        if "revoked" in states:
            yield Narrowing((pieces.of(limit), pieces.of(REVOKED)))
        else:
            yield Narrowing((pieces.of(limit),), limit)
    if not states:
        yield Narrowing((pieces.of(false()),))
    elif states != frozenset(STATUSES):
        yield Narrowing(tuple(pieces.in_states(states)), _walked(states))
    if asked.by == "spend":  # whose index has the keys of all organisations
        yield Narrowing((pieces.of(),))


def _of_active(asked: KeyQuery, pieces: "_Pieces") -> Iterator[Narrowing]:
    if asked.near_limit:
        yield Narrowing((pieces.near_limit(),))
    if asked.expiring:
        yield Narrowing((pieces.expiring(),))
    if asked.refused:
        yield Narrowing((pieces.refused(),))
    if asked.attention:
        yield Narrowing(tuple(pieces.wanting_attention()))
    if asked.dormant:
        yield Narrowing(tuple(pieces.dormant()))


def few_of(found: Sequence[Narrowing]) -> Select[Any] | None:
    """The ids that the first of them leaves which leaves few."""
    return next((narrowing.ids() for narrowing in found if narrowing.leaves_few()), None)


def _count(ids: Select[Any]) -> int:
    return db.session.scalar(select(func.count()).select_from(ids.subquery())) or 0


def is_one_of(ids: Select[Any]) -> ColumnElement[bool]:
    """The condition that a key is among them, so that they are looked up first and not among all keys."""
    if db.engine.dialect.name == "sqlite":
        return ProxyKey.id.in_(ids)
    return ProxyKey.id == func.any(func.array(ids.scalar_subquery()))


def has_id_of(ids: Sequence[str]) -> ColumnElement[bool]:
    """The condition that a key's id is one of these; all of them are one value, however many they are."""
    if db.engine.dialect.name == "sqlite":
        listed = func.json_each(json.dumps(ids)).table_valued("value")
        return ProxyKey.id.in_(select(listed.c.value))
    return ProxyKey.id == func.any(literal(ids, ARRAY(String)))


def _walked(states: frozenset[str]) -> Condition | None:
    """All keys in these states and no more than need be, as an index has them by their creation."""
    if states <= _LIVE_STATES:
        return PAUSED if states == {"paused"} else LIVE
    return REVOKED if states == {"revoked"} else None


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Ids of an organisation's keys, each piece from one place in an index on, and up to one more than FEW."""

    org_id: str
    at: datetime

    def of(self, *conditions: Condition) -> Select[Any]:
        return select(ProxyKey.id.label("id")).where(ProxyKey.org_id == self.org_id, *conditions).limit(FEW + 1)

    def tagged(self, wanted: Condition) -> Select[Any]:
        return select(KeyTag.key_id.label("id")).where(KeyTag.org_id == self.org_id, wanted).limit(FEW + 1)

    def in_states(self, states: frozenset[str]) -> Iterator[Select[Any]]:
        if states >= _LIVE_STATES:
            yield self.of(LIVE)
        else:
            if "active" in states:
                yield self.of(LIVE, ProxyKey.expires_at > self.at)
                yield self.of(LIVE, ProxyKey.expires_at.is_(None))
            elif "paused" in states:
                yield self.of(PAUSED)
            if "expired" in states:
                yield self.of(LIVE, ProxyKey.expires_at <= self.at)
        if "revoked" in states:
            yield self.of(REVOKED)

    def dormant(self) -> Iterator[Select[Any]]:
        yield self.of(LIVE, ProxyKey.last_used_at <= self.at - DORMANT)
        yield self.of(UNUSED, ProxyKey.created_at <= self.at - DORMANT)

    def expiring(self) -> Select[Any]:
        return self.of(LIVE, ProxyKey.expires_at > self.at, ProxyKey.expires_at <= self.at + SOON)

    def near_limit(self) -> Select[Any]:
        near = select(KeyNearLimit.key_id.label("id")).where(KeyNearLimit.org_id == self.org_id)
        return near.where(KeyNearLimit.day >= self.at.date() - _LONGEST_PERIOD).limit(FEW + 1)

    def refused(self) -> Select[Any]:
        return self._refused(Refusal.last_at >= self.at - LATELY)

    def wanting_attention(self) -> Iterator[Select[Any]]:
        yield self.of(UNLIMITED, LIVE)
        yield from self.dormant()
        yield self.expiring()
        yield self.refused()
        # Each reason has a place of its own in an index.
        yield self._refused(Refusal.reason.in_(BLOCKING), Refusal.last_at >= self.at - LONGEST_BLOCK)
        yield self.near_limit()

    def _refused(self, *conditions: Condition) -> Select[Any]:
        # Each as often as it has reasons: to tell the same ones apart, a database would first read all there are.
        refused = select(Refusal.key_id.label("id")).where(Refusal.org_id == self.org_id, *conditions)
        return refused.limit(FEW + 1)

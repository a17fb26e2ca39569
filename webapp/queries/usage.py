"""What was used, from the ledger's daily sums: of one key, or of an organisation.

By tag it is what keys used that have the tag now; a key with several counts for each of them. By label it is what
clients said of their requests. Both have a line with an empty name for all the rest, and in both the total is of all.
The rest is what the total has beside the lines, so both are read as of one moment.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, func, literal, or_, select
from sqlalchemy.orm import InstrumentedAttribute

from shared import money
from shared.models import (
    USAGE_CLASSES,
    KeyTag,
    LabelUsage,
    OrganizationLabels,
    OrganizationUsage,
    TagUsage,
    UsageDaily,
)
from webapp.db import db, one_moment
from webapp.queries.keys import get_key

MOST_KEYS = 10_000  # and tags, and labels
WORDS = ("tag", "label")  # what is grouped by that people made up themselves
_COUNTS = ("requests", "input_tokens", "output_tokens", "cost_nanos")
_SUMS = (*_COUNTS, *USAGE_CLASSES)


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums of one group; `group` is its day, key id, provider, model, tag or label."""

    group: str
    requests: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    classes: Mapping[str, int] = field(default_factory=dict)  # of those tokens, the ones that are priced by themselves

    @property
    def cost_usd(self) -> str:
        return money.to_usd(self.cost_nanos)


@dataclass(frozen=True, slots=True)
class UsageTable:
    """Usage from `first` to `last`, both included, in days of their organisation, and the sum of all of it."""

    first: date
    last: date
    group_by: str
    lines: tuple[UsageLine, ...]
    total: UsageLine


class Cell(NamedTuple):
    """What one group used on one day."""

    day: date
    line: UsageLine


Sums = type[UsageDaily | OrganizationUsage | LabelUsage | OrganizationLabels | TagUsage]


@one_moment()
def usage_of_key(org_id: str, key_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What one key used. Raises NotFound, for another organisation's key as well."""
    get_key(org_id, key_id)
    if group_by in WORDS:
        whole = _table(UsageDaily, UsageDaily.key_id == key_id, first, last, "day")
        return _by_words(org_id, key_id, whole, group_by)
    return _table(UsageDaily, UsageDaily.key_id == key_id, first, last, group_by)


@one_moment()
def usage_of_organization(org_id: str, first: date, last: date, group_by: str = "day") -> UsageTable:
    """What all keys of an organisation used; by key, the dearest 10,000 of them, ordered as `top_keys`."""
    if group_by not in ("key", *WORDS):
        return _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, group_by)
    whole = _table(OrganizationUsage, OrganizationUsage.org_id == org_id, first, last, "day")
    if group_by in WORDS:
        return _by_words(org_id, None, whole, group_by)
    days = (UsageDaily.org_id == org_id, UsageDaily.day >= first, UsageDaily.day <= last)
    sums = sums_of(UsageDaily)
    dearest = select(UsageDaily.key_id, *sums).where(*days).group_by(UsageDaily.key_id)
    ordered = dearest.order_by(func.sum(UsageDaily.cost_nanos).desc(), UsageDaily.key_id.desc()).limit(MOST_KEYS)
    return UsageTable(first, last, "key", tuple(line_of(*row) for row in db.session.execute(ordered)), whole.total)


def _by_words(org_id: str, key_id: str | None, whole: UsageTable, group_by: str) -> UsageTable:
    """By tag or by label, the dearest 10,000; `whole` is of the same days."""
    days = whole.first, whole.last
    if group_by == "tag":
        lines, named = _by_tag(org_id, *days) if key_id is None else _tags_of_key(key_id, whole.total)
    elif key_id is None:
        lines, named = _by_label(OrganizationLabels, OrganizationLabels.org_id == org_id, *days)
    else:
        lines, named = _by_label(LabelUsage, LabelUsage.key_id == key_id, *days)
    rest = replace(rest_of(whole.total, named), group="")
    if rest.requests or rest.cost_nanos:
        lines.append(rest)
    return UsageTable(whole.first, whole.last, group_by, tuple(lines), whole.total)


Lines = tuple[list[UsageLine], list[UsageLine]]  # of each word, the dearest first; of all that has one, if anything has


def _by_tag(org_id: str, first: date, last: date) -> Lines:
    """A tag that no key has any more has sums of nothing, which are left out."""
    within = (TagUsage.org_id == org_id, TagUsage.day >= first, TagUsage.day <= last)
    query = select(TagUsage.tag, *sums_of(TagUsage)).where(*within).group_by(TagUsage.tag)
    requests, cost = func.sum(TagUsage.requests), func.sum(TagUsage.cost_nanos)
    used = query.having(or_(requests != 0, cost != 0))
    # The empty one is of all that have any, so no other costs more.
    in_order = used.order_by(cost.desc(), (TagUsage.tag == "").desc(), TagUsage.tag.desc())
    rows = db.session.execute(in_order.limit(MOST_KEYS + 1))
    lines = [line_of(*row) for row in rows]
    return [line for line in lines if line.group][:MOST_KEYS], [line for line in lines if not line.group]


def _tags_of_key(key_id: str, total: UsageLine) -> Lines:
    """Each has all that the key used."""
    tags = db.session.scalars(select(KeyTag.tag).where(KeyTag.key_id == key_id).order_by(KeyTag.tag.desc())).all()
    lines = [replace(total, group=tag) for tag in tags] if total.requests or total.cost_nanos else []
    return lines, lines[:1]


def _by_label(
    sums: type[LabelUsage | OrganizationLabels], wanted: ColumnElement[bool], first: date, last: date
) -> Lines:
    days = (wanted, sums.day >= first, sums.day <= last)
    columns, cost = sums_of(sums), func.sum(sums.cost_nanos)
    grouped = select(sums.label, *columns).where(*days).group_by(sums.label)
    rows = db.session.execute(grouped.order_by(cost.desc(), sums.label.desc()).limit(MOST_KEYS))
    (named,) = db.session.execute(select(literal(""), *columns).where(*days))
    return [line_of(*row) for row in rows], [] if named[1] is None else [line_of(*named)]


def usage_of_labels_by_day(org_id: str, labels: Collection[str], first: date, last: date) -> Iterator[Cell]:
    """What was used under each of these labels on each day."""
    sums = OrganizationLabels
    days = (sums.org_id == org_id, sums.day >= first, sums.day <= last)
    query = select(sums.day, sums.label, *sums_of(sums)).where(*days, sums.label.in_(labels))
    rows = db.session.execute(query.group_by(sums.day, sums.label)) if labels else ()
    return (Cell(day, line_of(*row)) for day, *row in rows)


def usage_by_day(org_id: str, first: date, last: date, group_by: str) -> Iterator[Cell]:
    """What an organisation used on each day, by provider or by model."""
    group: InstrumentedAttribute[Any] = getattr(OrganizationUsage, group_by)
    days = (OrganizationUsage.day >= first, OrganizationUsage.day <= last)
    query = select(OrganizationUsage.day, group, *sums_of(OrganizationUsage))
    query = query.where(OrganizationUsage.org_id == org_id, *days).group_by(OrganizationUsage.day, group)
    return (Cell(day, line_of(*row)) for day, *row in db.session.execute(query))


def usage_of_keys_by_day(org_id: str, key_ids: Collection[str], first: date, last: date) -> Iterator[Cell]:
    """What each of these keys used on each day."""
    query = select(UsageDaily.day, UsageDaily.key_id, *sums_of(UsageDaily)).where(
        *of_keys(org_id, key_ids, first, last)
    )
    rows = db.session.execute(query.group_by(UsageDaily.key_id, UsageDaily.day)) if key_ids else ()
    return (Cell(day, line_of(*row)) for day, *row in rows)


def usage_of_keys(org_id: str, key_ids: Collection[str], first: date, last: date) -> dict[str, UsageLine]:
    """What each of these keys used in all these days, by its id; nothing of keys that used nothing."""
    query = select(UsageDaily.key_id, *sums_of(UsageDaily)).where(*of_keys(org_id, key_ids, first, last))
    rows = db.session.execute(query.group_by(UsageDaily.key_id)) if key_ids else ()
    return {row[0]: line_of(*row) for row in rows}


def of_keys(org_id: str, key_ids: Collection[str], first: date, last: date) -> tuple[ColumnElement[bool], ...]:
    """The daily sums of some keys, as conditions.

    No index has the organisation as it stands here, so that no database begins with the sums of all its keys.
    """
    mine = UsageDaily.org_id.concat("") == org_id
    return mine, UsageDaily.key_id.in_(key_ids), UsageDaily.day >= first, UsageDaily.day <= last


def _table(sums: Sums, wanted: ColumnElement[bool], first: date, last: date, group_by: str) -> UsageTable:
    group: InstrumentedAttribute[Any] = getattr(sums, "key_id" if group_by == "key" else group_by)
    query = select(group, *sums_of(sums)).where(wanted, sums.day >= first, sums.day <= last)
    lines = tuple(line_of(*row) for row in db.session.execute(query.group_by(group).order_by(group)))
    return UsageTable(first, last, group_by, lines, total_of(lines))


def total_of(lines: Collection[UsageLine], group: str = "total") -> UsageLine:
    """The sum of some lines."""
    counts = [sum(getattr(line, name) for line in lines) for name in _COUNTS]
    classes = [sum(line.classes.get(name, 0) for line in lines) for name in USAGE_CLASSES]
    return line_of(group, *counts, *classes)


def rest_of(total: UsageLine, shown: Collection[UsageLine]) -> UsageLine:
    """What `total` holds beside what is shown."""
    part = total_of(shown)
    counts = [getattr(total, name) - getattr(part, name) for name in _COUNTS]
    classes = [total.classes.get(name, 0) - part.classes.get(name, 0) for name in USAGE_CLASSES]
    return line_of("rest", *counts, *classes)


def sums_of(sums: Sums) -> list[ColumnElement[Any]]:
    """What is asked for of each group."""
    return [func.sum(getattr(sums, name)).label(name) for name in _SUMS]


def line_of(group: object, requests: int, read: int, written: int, nanos: int, *classes: int) -> UsageLine:
    """A row of a group and those sums."""
    known = {name: int(count) for name, count in zip(USAGE_CLASSES, classes, strict=True) if count}
    return UsageLine(str(group), int(requests), int(read), int(written), int(nanos), known)

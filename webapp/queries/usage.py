"""What was used, from the ledger's daily sums: of one key, or of an organisation.

By tag it is what keys used that have the tag now; a key with several counts for each of them. By label it is what
clients said of their requests. Both have a line with an empty name for all the rest, and in both the total is of all.
The rest is what the total has beside the lines, so both are read as of one moment.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, CompoundSelect, func, literal, select, union_all
from sqlalchemy.orm import InstrumentedAttribute

from shared import money
from shared.models import USAGE_CLASSES, KeyTag, LabelUsage, OrganizationUsage, UsageDaily
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


Sums = type[UsageDaily] | type[OrganizationUsage] | type[LabelUsage]


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
    lines, named = (_by_tag if group_by == "tag" else _by_label)(org_id, key_id, whole.first, whole.last)
    rest = replace(rest_of(whole.total, named), group="")
    if rest.requests or rest.cost_nanos:
        lines.append(rest)
    return UsageTable(whole.first, whole.last, group_by, tuple(lines), whole.total)


def _by_label(org_id: str, key_id: str | None, first: date, last: date) -> tuple[list[UsageLine], list[UsageLine]]:
    """The sums of each label, the dearest first, and those of all that has one, if anything has."""
    mine = LabelUsage.org_id == org_id if key_id is None else LabelUsage.key_id == key_id
    days = (mine, LabelUsage.day >= first, LabelUsage.day <= last)
    sums, cost = sums_of(LabelUsage), func.sum(LabelUsage.cost_nanos)
    grouped = select(LabelUsage.label, *sums).where(*days).group_by(LabelUsage.label)
    ordered = grouped.order_by(cost.desc(), LabelUsage.label.desc()).limit(MOST_KEYS)
    lines = [line_of(*row) for row in db.session.execute(ordered)]
    return lines, _named(db.session.execute(select(literal(""), *sums).where(*days)))


def _by_tag(org_id: str, key_id: str | None, first: date, last: date) -> tuple[list[UsageLine], list[UsageLine]]:
    """The same of tags. Of the keys that have one, by their own sums, however many keys there are beside them.

    Each key is added up once, whatever number of tags it has, and for both answers: daily sums are what takes time.
    """
    mine = [KeyTag.org_id == org_id] if key_id is None else [KeyTag.org_id == org_id, KeyTag.key_id == key_id]
    tagged = UsageDaily.key_id.in_(select(KeyTag.key_id).where(*mine))
    days = (UsageDaily.day >= first, UsageDaily.day <= last)
    query = select(UsageDaily.key_id, *sums_of(UsageDaily)).where(tagged, *days).group_by(UsageDaily.key_id)
    by_key = query.cte("by_key")
    sums = [func.sum(by_key.c[name]) for name in _SUMS]
    grouped = select(KeyTag.tag, *sums).join(by_key, by_key.c.key_id == KeyTag.key_id).where(*mine)
    ordered = grouped.group_by(KeyTag.tag).order_by(func.sum(by_key.c.cost_nanos).desc(), KeyTag.tag.desc())
    # What has an empty name is no tag: all that has one.
    both: CompoundSelect[Any] = union_all(
        select(ordered.limit(MOST_KEYS).subquery()), select(literal(""), *sums).select_from(by_key)
    )
    rows = db.session.execute(both).all()
    lines = sorted(
        (line_of(*row) for row in rows if row[0]), key=lambda line: (line.cost_nanos, line.group), reverse=True
    )
    return lines, _named(row for row in rows if not row[0])


def _named(rows: Iterable[Sequence[Any]]) -> list[UsageLine]:
    """The one line of all that has a word; none where nothing has."""
    return [line_of(*row) for row in rows if row[1] is not None]


def usage_of_labels_by_day(org_id: str, labels: Collection[str], first: date, last: date) -> Iterator[Cell]:
    """What was used under each of these labels on each day."""
    days = (LabelUsage.org_id == org_id, LabelUsage.day >= first, LabelUsage.day <= last)
    query = select(LabelUsage.day, LabelUsage.label, *sums_of(LabelUsage)).where(*days, LabelUsage.label.in_(labels))
    rows = db.session.execute(query.group_by(LabelUsage.day, LabelUsage.label)) if labels else ()
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

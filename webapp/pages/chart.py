"""A stacked chart of amounts over days: as shapes for SVG, and as data for Chart.js, both from the same columns."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

MOST_SERIES = 6  # each has a colour; what else there is makes one more, of the colour behind them
HEIGHT, COLUMN, BAR = 240, 10, 8  # in units of the drawing
_DAYS_SINGLY, _DAYS_BY_WEEK = 92, 400

Amounts = Mapping[tuple[date, str], int]  # by day and group


@dataclass(frozen=True, slots=True)
class Series:
    """A colour of the chart. Amounts are whole units of what is counted, one for each column."""

    slot: int
    label: str
    amounts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """A part of a column, from above, in units of the drawing."""

    slot: int
    x: int
    y: int
    height: int


@dataclass(frozen=True, slots=True)
class Column:
    """Some days. `total` is what all series come to in them, `text` that in words."""

    label: str
    total: int
    text: str
    shapes: tuple[Shape, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """All of it, and its highest column."""

    series: tuple[Series, ...]
    columns: tuple[Column, ...]
    width: int
    most: Column
    data: dict[str, Any]


def stacked(
    days: tuple[date, date],
    amounts: Amounts,
    series: Sequence[tuple[str, str]],
    rest: str,
    words: Callable[[int], str],
    unit: int,
) -> Chart | None:
    """The chart of `amounts`, by the groups in `series` (group and label); all other groups are one more, `rest`.

    `words` puts an amount into words, of which `unit` make one on the axis. None where there is nothing to be seen.
    """
    bins = _bins(*days)
    place = {day: number for number, (_, first, last) in enumerate(bins) for day in _days(first, last)}
    slots = {group: slot for slot, (group, _) in enumerate(series[:MOST_SERIES])}
    sums = [[0] * len(bins) for _ in range(MOST_SERIES + 1)]
    for (day, group), amount in amounts.items():
        sums[slots.get(group, MOST_SERIES)][place[day]] += amount
    labels = [label for _, label in series[:MOST_SERIES]]
    labels += [rest] * (MOST_SERIES + 1 - len(labels))
    told = [Series(slot, labels[slot], tuple(row)) for slot, row in enumerate(sums) if any(row)]
    if not told:
        return None
    columns = _columns([label for label, _, _ in bins], told, words)
    data = {
        "labels": [column.label for column in columns],
        "unit": unit,
        "series": [
            {"label": one.label, "slot": one.slot, "amounts": one.amounts, "texts": [words(n) for n in one.amounts]}
            for one in told
        ],
    }
    return Chart(tuple(told), columns, COLUMN * len(bins), max(columns, key=lambda column: column.total), data)


def _columns(labels: Sequence[str], series: Sequence[Series], words: Callable[[int], str]) -> tuple[Column, ...]:
    totals = [sum(one.amounts[number] for one in series) for number in range(len(labels))]
    most = max(1, *totals)
    columns = []
    for number, (label, total) in enumerate(zip(labels, totals, strict=True)):
        shapes, below = [], 0
        for one in series:
            # What is corrected may be less than nothing; nothing is drawn of it. A part that is there is seen.
            if (amount := one.amounts[number]) > 0:
                height = max(1, amount * HEIGHT // most)
                below += height
                shapes.append(Shape(one.slot, number * COLUMN + (COLUMN - BAR) // 2, HEIGHT - below, height))
        columns.append(Column(label, total, words(total), tuple(shapes)))
    return tuple(columns)


def _bins(first: date, last: date) -> list[tuple[str, date, date]]:
    """The columns: single days, weeks from Sunday on, or months; with what is said of each."""
    length = (last - first).days + 1
    if length <= _DAYS_SINGLY:
        return [(f"{day.day} {day:%b}", day, day) for day in _days(first, last)]
    found, day = [], first
    while day <= last:
        if length <= _DAYS_BY_WEEK:
            end, label = day + timedelta(days=6 - day.isoweekday() % 7), f"from {day.day} {day:%b}"
        else:
            end, label = (day.replace(day=1) + timedelta(days=32)).replace(day=1) - timedelta(days=1), f"{day:%b %Y}"
        found.append((label, day, min(end, last)))
        day = end + timedelta(days=1)
    return found


def _days(first: date, last: date) -> Iterable[date]:
    return (first + timedelta(days=number) for number in range((last - first).days + 1))

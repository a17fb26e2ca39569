"""Usage in the words of the dashboard: rows of a table, sums, refusals by reason, and the chart. No HTML."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from urllib.parse import quote, urlencode

from shared.money import NANOS_PER_USD
from webapp.pages import usage_query
from webapp.pages.chart import MOST_SERIES, Chart, stacked
from webapp.pages.forecast_words import outlook
from webapp.pages.request_presenter import model_words, provider_label
from webapp.pages.usage_query import Wanted
from webapp.queries.refused import RefusedFor
from webapp.queries.usage import Cell, UsageLine
from webapp.render import signed_dollars
from webapp.views.forecast import Forecast
from webapp.views.refusal_help import help_of


@dataclass(frozen=True, slots=True)
class Figures:
    """Sums for people; `cost_usd` is not rounded."""

    requests: str
    input_tokens: str
    output_tokens: str
    cost: str
    cost_usd: str


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table. `percent` is its part of all that was spent; `slot` its colour, None where it has none."""

    label: str
    href: str
    note: str
    figures: Figures
    percent: int
    slot: int | None
    outlook: str = ""  # what this month is expected to come to


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A reason for which something was refused. `href` leads to those refusals."""

    code: str
    title: str
    cause: str
    count: str
    last_day: str
    href: str


METRIC_OF: Mapping[str, Callable[[UsageLine], int]] = {
    "cost": lambda line: line.cost_nanos,
    "requests": lambda line: line.requests,
    "tokens": lambda line: line.input_tokens + line.output_tokens,
}
NO_FORECASTS: Mapping[str, Forecast] = {}
NO_PREFIXES: Mapping[str, str] = {}
_REST = {"key": "All other keys", "model": "All other models", "label": "All other requests"}
_WITHOUT = {"tag": "Keys without a tag", "label": "Requests without a label"}


def compact(count: int) -> str:
    """At most five digits, rounded down: 9,999; 12.3 k; 270.0 M; 1,234.5 B."""
    for size, unit in ((10**9, "B"), (10**6, "M"), (10**4, "k")):
        if count >= size:
            thousands = size if unit != "k" else 1_000
            return f"{count // thousands:,}.{count % thousands * 10 // thousands} {unit}"
    return f"{count:,}"


def figures(line: UsageLine) -> Figures:
    return Figures(
        f"{line.requests:,}",
        f"{line.input_tokens:,}",
        f"{line.output_tokens:,}",
        signed_dollars(line.cost_nanos),
        line.cost_usd,
    )


def rows(
    lines: Iterable[UsageLine],
    wanted: Wanted,
    total: UsageLine,
    names: Mapping[str, str],
    colours: Mapping[str, int],
    forecasts: Mapping[str, Forecast] = NO_FORECASTS,
    prefixes: Mapping[str, str] = NO_PREFIXES,
) -> list[Row]:
    """A row for each line; `names` and `prefixes` are those of keys, `colours` those of groups in the chart."""
    return [
        Row(
            label=label(wanted.group_by, line.group, names),
            href=_href(wanted, line.group),
            note=f"{prefixes[line.group]}…" if line.group in prefixes else "",
            figures=figures(line),
            percent=_percent(line, total),
            slot=colours.get(line.group),
            outlook=outlook(forecasts[line.group]) if line.group in forecasts else "",
        )
        for line in lines
    ]


def rest_row(line: UsageLine, wanted: Wanted, total: UsageLine) -> Row:
    """All that has no row of its own on this page."""
    return Row(_REST.get(wanted.group_by, "All others"), "", "", figures(line), _percent(line, total), None)


def label(group_by: str, group: str, names: Mapping[str, str]) -> str:
    """How a group is called."""
    if group_by == "day":
        day = date.fromisoformat(group)
        return f"{day:%a} {day.day} {day:%b %Y}"
    if group_by == "provider":
        return provider_label(group)
    if group_by in _WITHOUT:
        return group or _WITHOUT[group_by]
    return names.get(group, group) if group_by == "key" else model_words(group)


def refused_rows(found: Iterable[RefusedFor], wanted: Wanted) -> list[RefusedRow]:
    """Each reason in plain words.

    Of each key and reason the last refusal is kept, and it may be a later one than these days have. So the list is
    asked for from their beginning on without an end, which no key is missing from that was refused in them.
    """
    told = []
    for one in found:
        help_ = help_of(one.reason)
        day = f"{one.last_day.day} {one.last_day:%b %Y}"
        href = f"/requests/refused?{urlencode({'reason': one.reason, 'from': wanted.moments['from']})}"
        told.append(RefusedRow(one.reason, help_.title, help_.cause, f"{one.count:,}", day, href))
    return told


def chart(wanted: Wanted, cells: Iterable[Cell], series: list[tuple[str, str]]) -> Chart | None:
    """What was used on each day, in the colours of `series`: groups, with what they are called."""
    metric = METRIC_OF[wanted.metric]
    amounts: dict[tuple[date, str], int] = {}
    for day, line in cells:
        place = (day, line.group)
        amounts[place] = amounts.get(place, 0) + metric(line)
    words: Callable[[int], str] = signed_dollars if wanted.metric == "cost" else "{:,}".format
    unit = NANOS_PER_USD if wanted.metric == "cost" else 1
    return stacked(wanted.days, amounts, series, _REST.get(wanted.group_by, "Others"), words, unit)


def colours_of(series: list[tuple[str, str]]) -> dict[str, int]:
    """The colours of the groups that have one of their own."""
    return {group: slot for slot, (group, _) in enumerate(series[:MOST_SERIES])}


def _href(wanted: Wanted, group: str) -> str:
    """To what lies behind a row: of these days, as far as it is a list by time."""
    if wanted.group_by == "day":
        day = date.fromisoformat(group)
        return usage_query.of_days(day, day, "key")
    if wanted.group_by == "tag":
        return f"/keys?{urlencode({'tag': group, 'status': 'all'})}" if group else "/keys"
    if wanted.group_by == "key":
        return f"/keys/{quote(group, safe='')}"
    return f"/requests?{urlencode({**({wanted.group_by: group} if group else {}), **wanted.moments})}"


def _percent(line: UsageLine, total: UsageLine) -> int:
    """Of what was spent, rounded down; of nothing, nothing."""
    return max(0, min(100, line.cost_nanos * 100 // total.cost_nanos)) if total.cost_nanos > 0 else 0

"""What one key used, as two small charts, the table behind them, and sums by model. Views in, figures for SVG out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.periods import day_of
from shared.zones import UTC_NAME
from webapp.db import one_moment
from webapp.pages.request_presenter import model_words
from webapp.queries.usage import UsageLine, UsageTable, usage_of_key
from webapp.render import signed_dollars
from webapp.views.calendar import zone_of

PERIODS = (7, 30, 90)
_WIDTH, _HEIGHT = 1_000, 100  # of the drawing; the page stretches it


@dataclass(frozen=True, slots=True)
class Bar:
    """A day, as a rectangle from the top left, and what it stands for."""

    x: int
    y: int
    width: int
    height: int
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """Bars in a drawing of `width` by `height`, and the words around it."""

    label: str
    total: str
    most: str  # what the top of the drawing stands for
    summary: str  # the whole for those who do not see it
    bars: tuple[Bar, ...]
    width: int = _WIDTH
    height: int = _HEIGHT


@dataclass(frozen=True, slots=True)
class UsageRow:
    """Sums of a day or of a model. `share` is its part of the whole cost, in per cent."""

    group: str
    requests: str
    tokens_in: str
    tokens_out: str
    cost: str
    cost_exact: str
    share: int


@dataclass(frozen=True, slots=True)
class UsageFacts:
    """All of the section. Days without a request are in the charts and not in the table."""

    days: int
    first: str
    last: str
    zone: str  # whose days they are
    charts: tuple[Chart, ...]
    by_day: tuple[UsageRow, ...]
    by_model: tuple[UsageRow, ...]
    used: bool


def days_of(said: str | None) -> int:
    """One of PERIODS; what nobody offered is the first month."""
    return next((days for days in PERIODS if str(days) == said), 30)


@one_moment()
def usage_facts(org_id: str, key_id: str, days: int, at: datetime) -> UsageFacts:
    """Usage of the last days, today among them. Raises NotFound."""
    zone = zone_of(org_id)
    last = day_of(at.timestamp(), zone)
    first = last - timedelta(days=days - 1)
    by_day = usage_of_key(org_id, key_id, first, last, "day")
    by_model = usage_of_key(org_id, key_id, first, last, "model")
    lines = {date.fromisoformat(line.group): line for line in by_day.lines}
    calendar = [first + timedelta(days=number) for number in range(days)]
    money = {day: lines[day].cost_nanos if day in lines else 0 for day in calendar}
    counts = {day: lines[day].requests if day in lines else 0 for day in calendar}
    return UsageFacts(
        days=days,
        first=_day(first),
        last=_day(last),
        zone=zone or UTC_NAME,
        charts=(
            _chart(
                "Spend",
                money,
                {day: signed_dollars(nanos) for day, nanos in money.items()},
                signed_dollars(by_day.total.cost_nanos),
            ),
            _chart(
                "Requests", counts, {day: f"{count:,}" for day, count in counts.items()}, f"{by_day.total.requests:,}"
            ),
        ),
        by_day=tuple(_row(_day(date.fromisoformat(line.group)), line, by_day) for line in reversed(by_day.lines)),
        by_model=_by_model(by_model),
        used=bool(by_day.lines),
    )


def _by_model(table: UsageTable) -> tuple[UsageRow, ...]:
    dearest_first = sorted(table.lines, key=lambda line: (-line.cost_nanos, line.group))
    return tuple(_row(model_words(line.group), line, table) for line in dearest_first)


def _row(group: str, line: UsageLine, table: UsageTable) -> UsageRow:
    whole = table.total.cost_nanos
    return UsageRow(
        group,
        f"{line.requests:,}",
        f"{line.input_tokens:,}",
        f"{line.output_tokens:,}",
        signed_dollars(line.cost_nanos),
        f"${line.cost_usd}",
        max(0, min(100, line.cost_nanos * 100 // whole)) if whole > 0 else 0,
    )


def _chart(label: str, values: Mapping[date, int], words: Mapping[date, str], total: str) -> Chart:
    """A bar a day, at least a line high where there is anything. A day of corrections may cost less than nothing."""
    most = max(values.values())
    bars = []
    for number, (day, value) in enumerate(values.items()):
        left, right = number * _WIDTH // len(values), (number + 1) * _WIDTH // len(values)
        height = max(1, value * _HEIGHT // most) if value > 0 else 0
        gap = max(1, (right - left) // 6)
        bars.append(Bar(left, _HEIGHT - height, right - left - gap, height, f"{_day(day)}: {words[day]}"))
    highest = max(values, key=lambda day: values[day])
    summary = f"{label} of {len(values)} days: {total} in all"
    if most > 0:
        summary += f", most on {_day(highest)} ({words[highest]})"
    return Chart(label, total, words[highest] if most > 0 else "", summary, tuple(bars))


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"

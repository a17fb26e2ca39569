"""What a period is expected to come to, in the words of the dashboard; nothing where there is too little history."""

from datetime import date, timedelta

from webapp.pages.key_facts import LimitFacts
from webapp.render import dollars, signed_dollars
from webapp.views.forecast import METHOD, Forecast
from webapp.views.keys import KeyView


def outlook(found: Forecast) -> str:
    """Such as `about $12.30 by the end of 30 Nov 2026, $10.10 to $14.50`; empty where nobody can tell."""
    if found.expected_nanos is None or found.low_nanos is None or found.high_nanos is None:
        return ""
    return f"about {signed_dollars(found.expected_nanos)} by the end of {_last_day(found)}, {_range(found)}"


def limit_facts(found: Forecast, key: KeyView) -> tuple[LimitFacts, ...]:
    """The same beside the limits of a key, and whether its spend limit will do."""
    if found.expected_nanos is None:
        return ()
    note = f"by the end of {_last_day(found)} · {_range(found)}"
    limit = key.spend.limit_nanos  # as it is now: a raise may have ended by then, which its own note tells
    if limit is not None and key.spend_reset != "never" and found.expected_nanos > limit:
        note += f" · more than its limit of {dollars(limit)}"
    return (LimitFacts("Expected", f"About {signed_dollars(found.expected_nanos)}", note, METHOD),)


def _range(found: Forecast) -> str:
    return f"{signed_dollars(found.low_nanos or 0)} to {signed_dollars(found.high_nanos or 0)}"


def _last_day(found: Forecast) -> str:
    day: date = found.end - timedelta(days=1)
    return f"{day.day} {day:%b %Y}"

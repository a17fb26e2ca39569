"""What all keys of an organisation may use together and have used, in the words of a page."""

from datetime import datetime

from webapp.pages.key_presenter import PERIOD_WORDS
from webapp.render import dollars, relative
from webapp.views.calendar import exact
from webapp.views.organization import OrganizationStanding


def together(view: OrganizationStanding, at: datetime) -> tuple[tuple[str, str], ...]:
    """Labels and texts: the money first."""
    spend = view.spend
    spent = f"{dollars(spend.spent_nanos)} spent"
    if spend.held_nanos:
        spent += f" · {dollars(spend.held_nanos)} held by requests in flight"
    if spend.remaining_nanos is None or view.spend_limit_usd is None:
        money = f"No limit · {spent}"
    else:
        resets = "never resets" if spend.resets_at is None else f"resets {relative(spend.resets_at, at)}"
        limit = f"${view.spend_limit_usd} {PERIOD_WORDS[view.spend_reset]}"
        money = f"{dollars(spend.remaining_nanos)} left of {limit} · {spent} · {resets}"
        if spend.resets_at is not None:
            money += f", on {exact(spend.resets_at)}"
    rate = "No limit" if view.rate_limit_rpm is None else f"{view.rate_limit_rpm:,} in any 60 seconds"
    return (("Spend of all keys", money), ("Requests a minute of all keys", rate))

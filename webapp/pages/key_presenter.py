"""A key in the words of the dashboard: its badge, its spend, what it may use. Views in, frozen facts out, no HTML."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.catalog import PROVIDERS
from shared.money import to_usd
from webapp.render import dollars, relative, span
from webapp.views.keys import KeyView

NEAR_PERCENT = 80
SOON = timedelta(days=7)
PERIOD_WORDS = {"never": "in total", "daily": "a day", "weekly": "a week", "monthly": "a month"}


@dataclass(frozen=True, slots=True)
class Badge:
    """What stands in the status column: a tone, an icon and a word, and a hint what to do."""

    tone: str  # green, amber, red, grey
    icon: str
    label: str
    hint: str


@dataclass(frozen=True, slots=True)
class SpendFacts:
    """What stands in the spend column. `percent` is None when there is no bar to draw; `exact` is not rounded."""

    tone: str
    text: str
    note: str
    exact: str
    percent: int | None


@dataclass(frozen=True, slots=True)
class Access:
    """What a key may use: one line, and the whole lists behind it."""

    summary: str
    details: tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One row of the table."""

    id: str
    name: str
    prefix: str
    status: Badge
    spend: SpendFacts
    spent_ever: str
    rate: str
    access: Access
    last_used_at: datetime | None
    last_used: str
    expires_at: datetime | None
    expires: str
    editable: bool
    pausing: Literal["pause", "resume"] | None  # what one click can do


def row(view: KeyView, at: datetime) -> KeyRow:
    """All of a row, as seen at the moment `at`."""
    return KeyRow(
        id=view.id,
        name=view.name,
        prefix=view.prefix,
        status=badge(view, at),
        spend=spend(view, at),
        spent_ever=dollars(view.spend.lifetime_nanos),
        rate=rate(view.rate_limit_rpm),
        access=access(view),
        last_used_at=view.last_used_at,
        last_used=relative(view.last_used_at, at),
        expires_at=view.expires_at,
        expires=relative(view.expires_at, at),
        editable=view.status != "revoked",
        pausing=pausing(view),
    )


def pausing(view: KeyView) -> Literal["pause", "resume"] | None:
    """A key that is refused anyhow has nothing to pause; one that was paused before it expired can be resumed."""
    if view.status == "revoked":
        return None
    if view.paused:
        return "resume"
    return "pause" if view.status == "active" else None


def badge(view: KeyView, at: datetime) -> Badge:
    """The one thing most worth knowing: revoked, expired, paused, over limit, expires soon, near limit, active."""
    if view.status == "revoked":
        return Badge("grey", "ban", "Revoked", "It is refused for ever. Create another key if the app still needs one.")
    if view.status == "expired":
        return Badge("grey", "clock", "Expired", "It is refused. Edit the key and set a later expiry to open it again.")
    if view.status == "paused":
        return Badge("amber", "pause", "Paused", "It is refused until somebody resumes it. Nothing of it is lost.")
    limit = view.spend_limit_nanos
    if limit == 0:
        return Badge("red", "stop", "Blocked", "Its spend limit is 0. Raise or clear the limit to let it spend.")
    if limit is not None and view.spend.spent_nanos >= limit:
        return Badge("red", "stop", "Over limit", "Requests are refused. Raise the limit, or wait until it resets.")
    if view.expires_at is not None and view.expires_at - at <= SOON:
        hint = f"It expires in {span(view.expires_at - at)}. Edit the key to give it more time."
        return Badge("amber", "clock", "Expires soon", hint)
    if limit is not None and view.spend.spent_nanos * 100 >= limit * NEAR_PERCENT:
        return Badge("amber", "gauge", "Near limit", "More than 80 % is spent. Consider raising the limit.")
    return Badge("green", "check", "Active", "It works within its limits.")


def spend(view: KeyView, at: datetime) -> SpendFacts:
    """Spend of the running period beside its limit; without a limit, all that the key ever spent."""
    limit, spent, held = view.spend_limit_nanos, view.spend.spent_nanos, view.spend.held_nanos
    in_flight = f" · {dollars(held)} held" if held else ""
    exact = f"Spent ${to_usd(spent)}, held by requests in flight ${to_usd(held)}, in all ${view.spend.lifetime_usd}"
    if limit is None:
        return SpendFacts("none", "No limit", f"{dollars(view.spend.lifetime_nanos)} in total{in_flight}", exact, None)
    if limit == 0:
        note = f"Limit $0 · {dollars(view.spend.lifetime_nanos)} in total"
        return SpendFacts("red", "Blocked", note, exact, None)
    percent = spent * 100 // limit
    tone = "red" if percent >= 100 else "amber" if percent >= NEAR_PERCENT else "green"
    resets_at = view.spend.resets_at
    reset = "never resets" if resets_at is None else f"resets in {span(resets_at - at)}"
    text = f"{dollars(spent)} of {dollars(limit).removesuffix('.00')} {PERIOD_WORDS[view.spend_reset]}"
    return SpendFacts(tone, text, f"{percent} % · {reset}{in_flight}", exact, min(percent, 100))


def rate(limit_rpm: int | None) -> str:
    """The rate limit in words."""
    return "No limit" if limit_rpm is None else f"{limit_rpm:,} a minute"


def access(view: KeyView) -> Access:
    """Providers, models and addresses: a count of each that is restricted, and the lists."""
    providers = tuple(PROVIDERS[slug].label for slug in PROVIDERS if slug in view.allowed_providers)
    parts, details = [], []
    if providers:
        parts.append(", ".join(providers) if len(providers) < 3 else f"{len(providers)} providers")
        details.append(("Providers", providers))
    for label, values, one in (
        ("Models", tuple(view.allowed_models), "model pattern"),
        ("From", tuple(view.allowed_ips), "IP range"),
    ):
        if values:
            parts.append(f"{len(values)} {one}{'s' if len(values) > 1 else ''}")
            details.append((label, values))
    return Access(" · ".join(parts) or "Everything", tuple(details))

"""A key in the words of the dashboard: its badge, its spend, what it may use. Views in, frozen facts out, no HTML."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from shared.money import to_usd
from webapp.render import dollars, relative, span
from webapp.views.attention import NEAR_PERCENT, Judgement, State
from webapp.views.calendar import exact
from webapp.views.custom_providers import label_of
from webapp.views.keys import KeyView
from webapp.views.model_limits import ModelLimitView
from webapp.views.organization import OrganizationStanding

PERIOD_WORDS = {"never": "in total", "daily": "a day", "weekly": "a week", "monthly": "a month"}
_FAR = timedelta(days=365)  # beyond which a day says more than a count of days
_CHIPS = 2  # of a list that are seen without opening it
# Tone, icon and word of each state.
_LOOKS: dict[State, tuple[str, str, str]] = {
    State.REVOKED: ("grey", "ban", "Revoked"),
    State.EXPIRED: ("grey", "clock", "Expired"),
    State.PAUSED: ("amber", "pause", "Paused"),
    State.BLOCKED: ("red", "stop", "Blocked"),
    State.OVER_LIMIT: ("red", "stop", "Over limit"),
    State.REFUSED: ("amber", "alert", "Refused lately"),
    State.EXPIRES_SOON: ("amber", "clock", "Expires soon"),
    State.NEAR_LIMIT: ("amber", "gauge", "Near limit"),
    State.ACTIVE: ("green", "check", "Active"),
}


@dataclass(frozen=True, slots=True)
class Badge:
    """What stands in the status column: a tone, an icon and a word, its cause in few words, and why and what to do."""

    tone: str  # green, amber, red, grey
    icon: str
    label: str
    cause: str
    why: str
    cure: str

    @property
    def hint(self) -> str:
        return f"{self.why} {self.cure}"


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
    """What a key may use: what is seen at once, how many more there are, and the whole lists behind it."""

    chips: tuple[str, ...]
    more: int
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


def row(view: KeyView, judgement: Judgement, at: datetime, together: OrganizationStanding | None = None) -> KeyRow:
    """All of a row, as seen at the moment `at`. `together` are the limits of all keys, if there are any."""
    return KeyRow(
        id=view.id,
        name=view.name,
        prefix=view.prefix,
        status=badge(judgement),
        spend=spend(view, at, together),
        spent_ever=dollars(view.spend.lifetime_nanos),
        rate=rate(view.rate_limit_rpm, view.rate_limit_tpm, None if together is None else together.rate_limit_rpm),
        access=access(view),
        last_used_at=view.last_used_at,
        last_used=when(view.last_used_at, at),
        expires_at=view.expires_at,
        expires=when(view.expires_at, at),
        editable=view.status != "revoked",
        pausing=pausing(view),
    )


def badge(judgement: Judgement) -> Badge:
    """The one thing most worth knowing, as a pill."""
    tone, icon, label = _LOOKS[judgement.state]
    return Badge(tone, icon, label, judgement.cause, judgement.why, judgement.cure)


def pausing(view: KeyView) -> Literal["pause", "resume"] | None:
    """A key that is refused anyhow has nothing to pause; one that was paused before it expired can be resumed."""
    if view.status == "revoked":
        return None
    if view.paused:
        return "resume"
    return "pause" if view.status == "active" else None


def spend(view: KeyView, at: datetime, together: OrganizationStanding | None = None) -> SpendFacts:
    """Spend of the running period beside its limit; without one, beside the other limits that it counts against.

    Where a limit for models is as good as used up and stops it first, that one is told.
    """
    limit, spent, held = view.spend.limit_nanos, view.spend.spent_nanos, view.spend.held_nanos
    in_flight = f" · {dollars(held)} held" if held else ""
    told = f"Spent ${to_usd(spent)}, held by requests in flight ${to_usd(held)}, in all ${view.spend.lifetime_usd}"
    if limit is None:
        others = " · ".join(_other_limits(view, together))
        return SpendFacts("none", dollars(spent), f"{others or 'No limit'}{in_flight}", told, None)
    if limit == 0:
        return SpendFacts("red", f"{dollars(spent)} of $0", f"Blocked{in_flight}", told, None)
    percent = spent * 100 // limit
    tone = "red" if percent >= 100 else "amber" if percent >= NEAR_PERCENT else "green"
    reset = _reset(view.spend.resets_at, at)
    if view.spend_limit_boost_until is not None:
        reset = f"raised for {span(view.spend_limit_boost_until - at)} · {reset}"
        told += f", ${view.spend_limit_boost_usd} of the limit a raise until {exact(view.spend_limit_boost_until)}"
    text = f"{dollars(spent)} of {dollars(limit).removesuffix('.00')} {PERIOD_WORDS[view.spend_reset]}"
    if (nearest := _nearest(view)) is not None and _used_percent(nearest) >= max(NEAR_PERCENT, percent):
        return _spend_of_models(nearest, at, f"In all models {text}: {told}")
    return SpendFacts(tone, text, f"{percent} % · {reset}{in_flight}", told, min(percent, 100))


def _reset(resets_at: datetime | None, at: datetime) -> str:
    return "never resets" if resets_at is None else f"resets in {span(resets_at - at)}"


def _spend_of_models(limit: ModelLimitView, at: datetime, told: str) -> SpendFacts:
    used, held = _used_percent(limit), limit.spend.held_nanos
    text = f"{dollars(limit.spend.spent_nanos)} of {dollars(limit.limit_nanos).removesuffix('.00')}"
    in_flight = f" · {dollars(held)} held" if held else ""
    return SpendFacts(
        "red" if used >= 100 else "amber",
        f"{text} {PERIOD_WORDS[limit.spend_reset]}",
        f"{limit.model} · {used} % · {_reset(limit.spend.resets_at, at)}{in_flight}",
        told,
        min(used, 100),
    )


def _other_limits(view: KeyView, together: OrganizationStanding | None) -> Iterable[str]:
    """Of its limits for models the one that is nearest, and that of all keys."""
    if (nearest := _nearest(view)) is not None:
        yield _left_for(nearest)
    if together is not None and together.spend.limit_nanos is not None:
        yield f"All keys: {_left(together.spend.remaining_nanos or 0, together.spend.limit_nanos)}"


def _nearest(view: KeyView) -> ModelLimitView | None:
    """The limit for models of which least is left."""
    return max(view.model_limits, key=_used_percent, default=None)


def _used_percent(limit: ModelLimitView) -> int:
    """What is spent or held of it; of a limit of nothing, all."""
    return 100 - limit.spend.remaining_nanos * 100 // limit.limit_nanos if limit.limit_nanos else 100


def _left_for(limit: ModelLimitView) -> str:
    return f"{limit.model}: {_left(limit.spend.remaining_nanos, limit.limit_nanos)}"


def _left(remaining_nanos: int, limit_nanos: int) -> str:
    return f"{dollars(remaining_nanos)} of {dollars(limit_nanos).removesuffix('.00')} left"


def rate(limit_rpm: int | None, limit_tpm: int | None, together_rpm: int | None = None) -> str:
    """The rate limits in words; where the key has none, that of all keys."""
    if limit_tpm is None:
        if limit_rpm is None and together_rpm is not None:
            return f"{together_rpm:,} a minute, all keys"
        return "No limit" if limit_rpm is None else f"{limit_rpm:,} a minute"
    return f"{limit_tpm:,} tokens a minute" if limit_rpm is None else f"{limit_rpm:,} and {limit_tpm:,} tokens a minute"


def when(moment: datetime | None, at: datetime) -> str:
    """Days, hours or minutes from now; the day itself if that is more than a year away. Empty for None."""
    if moment is not None and abs(moment - at) > _FAR:
        return exact(moment).partition(",")[0]
    return relative(moment, at)


def access(view: KeyView) -> Access:
    """Models and providers as chips, and whole lists of them and of addresses."""
    providers = tuple(label_of(slug) for slug in view.allowed_providers)
    parts = (("Models", view.allowed_models), ("Providers", providers), ("From", view.allowed_ips))
    details = tuple((label, tuple(values)) for label, values in parts if values)
    chips = tuple(_chips(values for _, values in details))
    return Access(chips[:_CHIPS], len(chips[_CHIPS:]), details)


def _chips(lists: Iterable[tuple[str, ...]]) -> Iterable[str]:
    """The first of each list, so that each is seen, then the others."""
    rest: list[str] = []
    for values in lists:
        yield values[0]
        rest += values[1:]
    yield from rest

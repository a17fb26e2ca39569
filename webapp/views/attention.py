"""What is wrong with a key and what to do about it: one judgement, in words. Pure; the facts come from the ledger.

The worst comes first. A key is called blocked only for what keeps its next usual request out as well: a refusal whose
cause was removed since, by an edit, a reset or a later expiry, is told no more.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address, ip_network

from shared import money
from shared.catalog import PROVIDERS, provider_of_model
from shared.policy import Reason
from shared.policy.rules import matches_model
from webapp.views.key_lists import contradiction
from webapp.views.keys import KeyView
from webapp.views.model_limits import ModelLimitView
from webapp.views.refusal_help import HELP
from webapp.views.requests import RefusalView

SOON = timedelta(days=7)  # that a key is said to expire soon
DORMANT = timedelta(days=30)
NEAR_PERCENT = 80
LATELY = timedelta(hours=24)  # for which a refusal is told although other requests go through: until the next morning
LONGEST_BLOCK = timedelta(days=7)  # for which one that lasts is told when nothing has gone through since
_OF_STATE: Mapping[str, str] = {
    Reason.KEY_REVOKED: "revoked",
    Reason.KEY_EXPIRED: "expired",
    Reason.KEY_PAUSED: "paused",
}
# Reasons that keep a key blocked until something is changed. Those of its state are not among them: a key in another
# state is not blocked by them any more.
BLOCKING = tuple(reason.value for reason, words in HELP.items() if words.lasting and reason not in _OF_STATE)
# What is refused for a limit of all keys of the organisation together, or may be.
OF_ORGANIZATION = (
    Reason.ENDPOINT_NOT_METERED,
    Reason.MODEL_NOT_PRICED,
    Reason.ORGANIZATION_RATE_LIMITED,
    Reason.ORGANIZATION_SPEND_EXCEEDED,
    Reason.ORGANIZATION_SPEND_HELD,
)
# Below this it is asked whether a usual request fits; none that is usual needs more.
SMALL_CHANGE_NANOS = money.NANOS_PER_USD
# What the request needed, and whom it was for, stands in the sentence that it was answered with, and nowhere else.
_NOT_ALLOWED = re.compile(r"may not use the provider ([a-z][a-z0-9-]*)\.")
_FOR_MODELS = re.compile(r"has spend limits for models \((.+?)\)[,;.]")
_NEEDED = re.compile(r"this request may need up to \$(\d+\.\d+)")


class State(StrEnum):
    """What a key's badge says, the worst first."""

    REVOKED = "revoked"
    EXPIRED = "expired"
    PAUSED = "paused"
    BLOCKED = "blocked"
    OVER_LIMIT = "over_limit"
    REFUSED = "refused"
    EXPIRES_SOON = "expires_soon"
    NEAR_LIMIT = "near_limit"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all keys of an organisation may use together; None is no limit."""

    rate_limit_rpm: int | None = None
    remaining_nanos: int | None = None  # of its spend limit


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a key beside its settings and its spend."""

    refusals: Sequence[RefusalView] = ()  # the latest first
    usual_nanos: int | None = None  # what one of its requests costs; None: nobody knows, or it does not matter
    shared: Shared | None = None  # None: none of these was refused for it, or nobody has looked
    own: Collection[str] | None = None  # the organisation's own providers by name; likewise


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state, its cause in two or three words, a sentence that says why, and what to do."""

    state: State
    cause: str
    why: str
    cure: str
    refusal: RefusalView | None = None  # that it was judged by


def judge(key: KeyView, facts: Facts, at: datetime) -> Judgement:
    """The one thing most worth knowing of a key at a moment."""
    # Reasons of a later release mean nothing here.
    news = [one for one in facts.refusals if one.reason in set(Reason) and _is_news(key, one, at)]
    told = next((one for one in news if stands(key, one, facts.shared)), None)
    return _ended(key) or _closed(key, facts) or _refused(key, told) or _running_out(key, at) or _working(key, news, at)


def stands(key: KeyView, refusal: RefusalView, shared: Shared | None = None) -> bool:
    """Whether the cause of a refusal is there still, as far as the key and its organisation can tell."""
    reason, model = refusal.reason, refusal.model
    if reason in _OF_STATE:
        return key.status == _OF_STATE[reason]
    if reason == Reason.IP_BLOCKED:
        return bool(key.allowed_ips) and not _is_among(refusal.client_ip, key.allowed_ips)
    if reason == Reason.PROVIDER_NOT_ALLOWED:
        slug = _provider_of(refusal)
        return bool(key.allowed_providers) and (slug is None or slug not in key.allowed_providers)
    if reason == Reason.MODEL_NOT_ALLOWED:
        return bool(key.allowed_models) and (model is None or not is_covered(model, key.allowed_models))
    if reason in (Reason.TOKENS_NOT_BOUNDED, Reason.TOKEN_RATE_LIMITED):
        return key.rate_limit_tpm is not None
    if reason == Reason.ENDPOINT_NOT_METERED and key.rate_limit_tpm is not None:
        return True
    if reason in (Reason.ENDPOINT_NOT_METERED, Reason.MODEL_NOT_PRICED):
        capped = key.spend.limit_nanos is not None or bool(_limits_of(key, refusal))
        return capped or (shared is not None and shared.remaining_nanos is not None)
    if reason in (Reason.SPEND_EXCEEDED, Reason.SPEND_HELD):
        return _is_short(key.spend.remaining_nanos, refusal)
    if reason in (Reason.MODEL_SPEND_EXCEEDED, Reason.MODEL_SPEND_HELD):
        limits = _limits_of(key, refusal)
        return any(_is_short(limit.spend.remaining_nanos, refusal) for limit in limits)
    if reason == Reason.TOO_MANY_CONCURRENT:
        return key.max_concurrent_requests is not None
    if reason == Reason.RATE_LIMITED:
        return key.rate_limit_rpm is not None
    return shared is None or _stands_for_all(shared, refusal)


def _stands_for_all(shared: Shared, refusal: RefusalView) -> bool:
    """The same of what all keys share; of any other refusal nothing is known that would have cured it."""
    if refusal.reason == Reason.ORGANIZATION_RATE_LIMITED:
        return shared.rate_limit_rpm is not None
    if refusal.reason in (Reason.ORGANIZATION_SPEND_EXCEEDED, Reason.ORGANIZATION_SPEND_HELD):
        return _is_short(shared.remaining_nanos, refusal)
    return True


def _limits_of(key: KeyView, refusal: RefusalView) -> list[ModelLimitView]:
    """The limits for models that a refused request's counted against, or might have, as they stand."""
    blamed = _FOR_MODELS.search(refusal.message)
    patterns = () if blamed is None else blamed[1].split(", ")
    return [
        limit
        for limit in key.model_limits
        if refusal.model is None or limit.model in patterns or is_covered(refusal.model, (limit.model,))
    ]


def _provider_of(refusal: RefusalView) -> str | None:
    """Which provider a key may not use. Of one that is not built in the model's name tells nothing."""
    if (named := _NOT_ALLOWED.search(refusal.message)) is not None:
        return named[1]
    found = provider_of_model(refusal.model) if refusal.model else None
    return None if found is None else found[0]


def _is_short(left: int | None, refusal: RefusalView) -> bool:
    """Whether what a request needed that was refused for money is still more than what is left."""
    needed = _NEEDED.search(refusal.message)
    return left is not None and (needed is None or money.from_usd(needed[1]) > left)


def _ended(key: KeyView) -> Judgement | None:
    """What is known of its state alone."""
    if key.status == "revoked":
        why = "It was revoked and is refused for ever."
        return Judgement(State.REVOKED, "For ever", why, "Create another key if the app still needs one.")
    if key.status == "expired":
        why = f"It expired on {_day(key.expires_at)}; every request is refused."
        return Judgement(State.EXPIRED, "", why, "Edit the key and set a later expiry to open it again.")
    if key.status == "paused":
        why = "It is paused: every request is refused until somebody resumes it. Nothing of it is lost."
        return Judgement(State.PAUSED, "By hand", why, "Resume it when it may work again.")
    return None


def _closed(key: KeyView, facts: Facts) -> Judgement | None:
    """What keeps every usual request out, whether one was made or not."""
    limit, left = key.spend.limit_nanos, key.spend.remaining_nanos
    if limit == 0:
        why = "Its spend limit is 0, so nothing that costs money is let through."
        return Judgement(State.BLOCKED, "Limit is 0", why, "Raise or clear the limit to let it spend.")
    if (why_not := contradiction(key.allowed_providers, key.allowed_models, facts.own)) is not None:
        cure = "Edit the key: allow the provider of these models, or other models."
        return Judgement(State.BLOCKED, "No model fits", why_not, cure)
    if limit is None or left is None:
        return None
    if key.spend.spent_nanos >= limit:
        why = f"It has spent {_dollars(key.spend.spent_nanos)} of {_dollars(limit)}{_raised(key)}; {_resets(key)}"
        return Judgement(State.OVER_LIMIT, "Requests refused", why, "Raise the limit, or wait until it resets.")
    usual = facts.usual_nanos
    if usual is not None and left < usual and not key.spend.held_nanos:
        why = f"{_dollars(left)} is left and a usual request needs {_dollars(usual)}; {_resets(key)}"
        return Judgement(State.BLOCKED, "Too little left", why, "Raise the limit, or wait until it resets.")
    return None


def _is_news(key: KeyView, refusal: RefusalView, at: datetime) -> bool:
    """Whether somebody should hear of a refusal, as far as its age tells.

    The list of keys that want attention asks the same of the database (`queries.key_filters`).
    """
    age = at - refusal.last_at
    return age <= LATELY or (refusal.reason in BLOCKING and age <= LONGEST_BLOCK and _is_last(key, refusal))


def _is_last(key: KeyView, refusal: RefusalView) -> bool:
    """Whether nothing has gone through since."""
    return key.last_used_at is None or key.last_used_at < refusal.last_at


def _refused(key: KeyView, refusal: RefusalView | None) -> Judgement | None:
    if refusal is None:
        return None
    words = HELP[Reason(refusal.reason)]
    state = State.BLOCKED if words.lasting and _is_last(key, refusal) else State.REFUSED
    told = refusal.message if refusal.message.endswith((".", "?", "!")) else f"{refusal.message}."
    return Judgement(state, words.title, f"Its last refused request was told: {told}", words.remedy, refusal)


def _running_out(key: KeyView, at: datetime) -> Judgement | None:
    if key.expires_at is not None and key.expires_at - at <= SOON:
        why = f"It expires on {_day(key.expires_at)}."
        return Judgement(State.EXPIRES_SOON, "", why, "Edit the key to give it more time.")
    limit, spent = key.spend.limit_nanos, key.spend.spent_nanos
    if limit is not None and spent * 100 >= limit * NEAR_PERCENT:
        why = f"{spent * 100 // limit} % of its limit is spent{_raised(key)}; {_resets(key)}"
        return Judgement(State.NEAR_LIMIT, f"{spent * 100 // limit} % spent", why, "Consider raising the limit.")
    for one in key.model_limits:
        used = one.spend.spent_nanos
        if used * 100 >= one.limit_nanos * NEAR_PERCENT:
            percent = used * 100 // one.limit_nanos if one.limit_nanos else 100
            why = f"{percent} % of its limit for models {one.model} is spent; {_resets_on(one.spend.resets_at)}"
            cause = f"{percent} % for {one.model}"
            return Judgement(State.NEAR_LIMIT, cause, why, "Consider raising the limit for these models.")
    return None


def _working(key: KeyView, mended: Sequence[RefusalView], at: datetime) -> Judgement:
    """A list may have such a key because it was refused, so it is said why that is nothing to worry about."""
    why = "It works within its limits."
    if mended:
        why += f" What it was refused for lately ({HELP[Reason(mended[0].reason)].title}) has been changed since."
    return Judgement(State.ACTIVE, _idle(key, at), why, "Nothing needs to be done.")


def _idle(key: KeyView, at: datetime) -> str:
    """How long nobody has used it, where that is worth a word."""
    if key.last_used_at is None:
        return "Never used"
    idle = at - key.last_used_at
    return f"Unused for {idle.days} d" if idle >= DORMANT else ""


def is_covered(model: str, patterns: Sequence[str]) -> bool:
    """Under its name as it was asked for or its bare one, whichever provider it was asked of."""
    found = provider_of_model(model)
    names = [(slug, model) for slug in PROVIDERS] + ([] if found is None else [found])
    names += [(pattern.partition("/")[0], model) for pattern in patterns if "/" in pattern]
    return any(matches_model(pattern, slug, name) for pattern in patterns for slug, name in names)


def _is_among(address: str | None, ranges: Sequence[str]) -> bool:
    try:
        return address is not None and any(ip_address(address) in ip_network(one) for one in ranges)
    except ValueError:
        return False


def _raised(key: KeyView) -> str:
    until = key.spend_limit_boost_until
    return "" if until is None else f", ${key.spend_limit_boost_usd} of it a raise until {_day(until)}"


def _resets(key: KeyView) -> str:
    return _resets_on(key.spend.resets_at)


def _resets_on(moment: datetime | None) -> str:
    return "the limit never resets." if moment is None else f"it resets on {_day(moment)}."


def _day(moment: datetime | None) -> str:
    return "" if moment is None else f"{moment.day} {moment:%b %Y, %H:%M} UTC"


def _dollars(nanos: int) -> str:
    return f"${money.to_usd(nanos)}"

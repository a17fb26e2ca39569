"""What is wrong with a key and what to do about it: one judgement, in words. Pure; the facts come from the ledger.

The worst comes first. A key is called blocked only for what keeps its next usual request out as well: a refusal whose
cause was removed since, by an edit, a reset or a later expiry, is told no more.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from shared import money
from shared.policy import Reason
from shared.pricing.bound import COUNT_MARGIN_TOKENS
from webapp.views.calendar import exact
from webapp.views.key_lists import NONE_HAS_ANY, Place, contradiction, is_within, reaches
from webapp.views.keys import KeyView
from webapp.views.model_limits import ModelLimitView
from webapp.views.refusal_help import HELP
from webapp.views.requests import RefusalView
from webapp.views.standing_refusals import OF_STATE, Shared, stands

SOON = timedelta(days=7)  # that a key is said to expire soon
DORMANT = timedelta(days=30)
NEAR_PERCENT = 80
LATELY = timedelta(hours=24)  # for which a refusal is told although other requests go through: until the next morning
LONGEST_BLOCK = timedelta(days=7)  # for which one that lasts is told when nothing has gone through since
# Reasons that keep a key blocked until something is changed. Those of its state are not among them: a key in another
# state is not blocked by them any more.
BLOCKING = tuple(reason.value for reason, words in HELP.items() if words.lasting and reason not in OF_STATE)
_OF_ONE_MODEL = frozenset({Reason.MODEL_NOT_ALLOWED.value, Reason.PROVIDER_NOT_ALLOWED.value})
# Where nobody knows what is usual, it is asked below this whether a first request fits; none needs more.
SMALL_CHANGE_NANOS = money.NANOS_PER_USD
LEAST_TOKENS = COUNT_MARGIN_TOKENS + 1  # that a text can be bounded at, counted by its provider and answered


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
class Facts:
    """What is known of a key beside its settings and its spend."""

    refusals: Sequence[RefusalView] = ()  # the latest first
    usual_nanos: int | None = None  # what one of its requests costs; None: nobody knows, or it does not matter
    least_nanos: int | None = None  # likewise, whichever of its models it is for
    shared: Shared | None = None  # None: nobody has looked; likewise of the next three
    own: Collection[str] | None = None  # the organisation's own providers by name
    usable: Collection[str] | None = None  # providers with a credential, or that need none
    places: Sequence[Place] | None = None  # what its lists let through to these
    unpriced: frozenset[Place] = frozenset()  # those of them without a price, as far as a spend limit needs one


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
    refused = _refused(key, told)
    blocked = refused if refused is not None and refused.state is State.BLOCKED else None
    closed = _ended(key) or _closed(key, facts) or blocked or _unserved(key, facts) or _all_together(facts)
    return closed or refused or _running_out(key, at) or _working(key, news, at)


def _ended(key: KeyView) -> Judgement | None:
    """What is known of its state alone."""
    if key.status == "revoked":
        why = "It was revoked and is refused for ever."
        return Judgement(State.REVOKED, "For ever", why, "Create another key if the app still needs one.")
    if key.status == "expired" and key.expires_at is not None:
        why = f"It expired on {exact(key.expires_at)}; every request is refused."
        return Judgement(State.EXPIRED, "", why, "Edit the key and set a later expiry to open it again.")
    if key.status == "paused":
        why = "It is paused: every request is refused until somebody resumes it. Nothing of it is lost."
        return Judgement(State.PAUSED, "By hand", why, "Resume it when it may work again.")
    return None


def _closed(key: KeyView, facts: Facts) -> Judgement | None:
    """What of the key itself keeps every usual request out, whether one was made or not."""
    if key.spend.limit_nanos == 0:
        why = "Its spend limit is 0, so nothing that costs money is let through."
        return Judgement(State.BLOCKED, "Limit is 0", why, "Raise or clear the limit to let it spend.")
    if (why_not := contradiction(key.allowed_providers, key.allowed_models, facts.own)) is not None:
        cure = "Edit the key: allow the provider of these models, or other models."
        return Judgement(State.BLOCKED, "No model fits", why_not, cure)
    if (shut := _shut_by_limits(key, facts)) is not None:
        return shut
    limit, left, usual = key.spend.limit_nanos, key.spend.remaining_nanos, facts.usual_nanos
    if limit is None or left is None:
        return None
    if key.spend.spent_nanos >= limit:
        why = f"It has spent {_dollars(key.spend.spent_nanos)} of {_dollars(limit)}{_raised(key)}; {_resets(key)}"
        return Judgement(State.OVER_LIMIT, "Requests refused", why, "Raise the limit, or wait until it resets.")
    if usual is not None and left < usual and not key.spend.held_nanos:
        why = f"{_dollars(left)} is left and a usual request needs {_dollars(usual)}; {_resets(key)}"
        return Judgement(State.BLOCKED, "Too little left", why, "Raise the limit, or wait until it resets.")
    return None


def _shut_by_limits(key: KeyView, facts: Facts) -> Judgement | None:
    """Limits for models that together leave nothing of what its lists let through."""
    places = facts.places or ()
    short = [one for one in key.model_limits if _is_short(one, facts)]
    shut = {place for place in places if any(is_within(place, one.model) for one in short)}
    if not shut or not shut | facts.unpriced >= set(places):
        return None
    told = [one for one in short if any(is_within(place, one.model) for place in shut)]
    names = " and ".join(one.model for one in told)
    others = "it may use no others" if shut >= set(places) else "no price is known of the others"
    if all(one.spend.spent_nanos >= one.limit_nanos for one in told):
        why = f"Its limits for models {names} are used up, and {others}; "
    else:
        why = f"Its limits for models {names} leave less than a usual request needs, and {others}; "
    why += _resets_on(min((one.spend.resets_at for one in told if one.spend.resets_at), default=None))
    words = HELP[Reason.MODEL_SPEND_EXCEEDED]
    return Judgement(State.BLOCKED, words.title, why, words.remedy)


def _is_short(limit: ModelLimitView, facts: Facts) -> bool:
    """Whether a limit for models keeps a usual request out; where it is not for all of them, the cheapest."""
    if limit.spend.spent_nanos >= limit.limit_nanos:
        return True
    for_all = all(is_within(place, limit.model) for place in facts.places or ())
    needed = facts.usual_nanos if for_all else facts.least_nanos
    return needed is not None and limit.spend.remaining_nanos < needed and not limit.spend.held_nanos


def _unserved(key: KeyView, facts: Facts) -> Judgement | None:
    """What keeps requests out that the key's own lists let through."""
    if facts.usable is not None and not reaches(key.allowed_providers, key.allowed_models, facts.usable):
        words = HELP[Reason.PROVIDER_NOT_CONFIGURED]
        why = "No provider that it may use has a credential that is switched on, so every request is refused."
        return Judgement(State.BLOCKED, words.title, why, words.remedy)
    if facts.places is not None and not facts.places:
        cure = "Edit the key: allow models that the provider has; or have these added to the provider's list."
        return Judgement(State.BLOCKED, "No model fits", NONE_HAS_ANY, cure)
    if key.rate_limit_tpm is not None and key.rate_limit_tpm < LEAST_TOKENS:
        why = f"It may use {key.rate_limit_tpm} tokens a minute, and a request that is answered in text needs room for "
        why += f"{LEAST_TOKENS} at least, so each such is refused."
        return Judgement(State.BLOCKED, "Token limit too low", why, "Edit the key: raise or clear its tokens a minute.")
    if facts.places and facts.unpriced >= set(facts.places):
        words = HELP[Reason.MODEL_NOT_PRICED]
        why = "No model that it may use has a known price, which a spend limit needs, so each request is refused."
        return Judgement(State.BLOCKED, words.title, why, words.remedy)
    return None


def _all_together(facts: Facts) -> Judgement | None:
    """The spend limit of all keys, where it keeps every usual request out."""
    shared = facts.shared
    if shared is None or shared.limit_nanos is None or shared.remaining_nanos is None:
        return None
    if shared.limit_nanos == 0:
        why = "The spend limit of the organisation is 0, so nothing that costs money is let through."
        cure = "An administrator raises or clears that limit in the settings."
        return Judgement(State.BLOCKED, "Organisation's limit is 0", why, cure)
    spent, limit, usual = shared.spent_nanos, shared.limit_nanos, facts.usual_nanos
    if spent >= limit:
        why = f"All keys together have spent {_dollars(spent)} of {_dollars(limit)}; {_resets_on(shared.resets_at)}"
    elif usual is not None and shared.remaining_nanos < usual and not shared.held_nanos:
        left = _dollars(shared.remaining_nanos)
        why = f"{left} is left for all keys together and a usual request needs {_dollars(usual)}; "
        why += _resets_on(shared.resets_at)
    else:
        return None
    cure = "An administrator raises the organisation's spend limit in the settings; or wait until it resets."
    return Judgement(State.BLOCKED, HELP[Reason.ORGANIZATION_SPEND_EXCEEDED].title, why, cure)


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
    why = f"Its last refused request was told: {told}"
    if key.last_used_at is not None and refusal.reason in _OF_ONE_MODEL:
        why += " Requests for what it may use go through all the same."
    return Judgement(state, words.title, why, words.remedy, refusal)


def _running_out(key: KeyView, at: datetime) -> Judgement | None:
    if key.expires_at is not None and key.expires_at - at <= SOON:
        why = f"It expires on {exact(key.expires_at)}."
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


def _raised(key: KeyView) -> str:
    until = key.spend_limit_boost_until
    return "" if until is None else f", ${key.spend_limit_boost_usd} of it a raise until {exact(until)}"


def _resets(key: KeyView) -> str:
    return _resets_on(key.spend.resets_at)


def _resets_on(moment: datetime | None) -> str:
    return "the limit never resets." if moment is None else f"it resets on {exact(moment)}."


def _dollars(nanos: int) -> str:
    return f"${money.to_usd(nanos)}"

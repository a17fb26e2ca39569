"""The organisation at a glance, in words: spend, keys to look at, the last refusals, the first request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal
from urllib.parse import urlencode

from webapp.pages import usage_periods
from webapp.pages.usage_presenter import Figures, figures
from webapp.queries import key_counts
from webapp.queries.first_request import FirstRequest
from webapp.queries.key_counts import KeyCounts
from webapp.queries.keys import COUNTED
from webapp.queries.refused import LastRefusal
from webapp.queries.usage import UsageLine, total_of
from webapp.render import length, relative, signed_dollars
from webapp.views.providers import ProviderView, waiting
from webapp.views.refusal_help import help_of
from webapp.views.requests import RequestView

# Who answers: providers, the built-in sandbox, or nobody; the sandbox refuses what waits for a restart.
Behind = Literal["real", "waiting", "sandbox", "nobody"]


@dataclass(frozen=True, slots=True)
class Spend:
    """What was spent in some days, and beside it in others."""

    figures: Figures
    note: str


@dataclass(frozen=True, slots=True)
class Look:
    """Keys that somebody should look at. `tone` is that of a badge."""

    count: str
    label: str
    hint: str
    href: str
    tone: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A refusal in plain words."""

    key_id: str
    key: str
    title: str
    cause: str
    remedy: str
    at: datetime
    ago: str


@dataclass(frozen=True, slots=True)
class Guide:
    """How far the first request is. `state` changes when something happened; it stands in the address that is asked."""

    state: str
    tone: str
    title: str
    text: str
    remedy: str
    key_id: str
    done: bool


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """A provider, and who answers for it."""

    label: str
    behind: Behind
    text: str


def spend_of(lines: Mapping[date, UsageLine], first: date, last: date) -> UsageLine:
    """The sum of some days."""
    return total_of([line for day, line in lines.items() if first <= day <= last])


def month(this: UsageLine, before: UsageLine, days_before: tuple[date, date]) -> Spend:
    """This month so far, beside the same days of the last one."""
    words = f"{signed_dollars(before.cost_nanos)} from {usage_periods.in_words(*days_before)}"
    if before.cost_nanos <= 0:
        return Spend(figures(this), words)
    change = (this.cost_nanos - before.cost_nanos) * 100 // before.cost_nanos
    return Spend(figures(this), f"{abs(change):,} % {'more' if change >= 0 else 'less'} than {words}")


def looks(counts: KeyCounts) -> tuple[Look, ...]:
    """What there is to look at, the most urgent first. What is 0 is told as well: it is good news."""
    return (
        _look(counts, "near_limit", "near their limit", "80 % or more of it is spent"),
        _look(counts, "refused", "refused lately", "active keys, last 24 hours"),
        _look(counts, "expiring", "expiring soon", "within 7 days", sort="expires_at"),
        _look(counts, "dormant", "dormant", "unused for 30 days"),
        _look(counts, "unlimited", "without a spend limit", "nothing stops them"),
    )


def refusals(found: Iterable[LastRefusal], names: Mapping[str, str], at: datetime) -> list[Refused]:
    """The last ones, with the names of their keys."""
    told = []
    for key_id, refusal in found:
        words = help_of(refusal.reason)
        told.append(
            Refused(
                key_id=key_id,
                key=names.get(key_id, key_id),
                title=words.title,
                cause=words.cause,
                remedy=words.remedy,
                at=refusal.last_at,
                ago=relative(refusal.last_at, at),
            )
        )
    return told


def guide(found: FirstRequest, names: Mapping[str, str]) -> Guide:
    """What came of the first request, and what to do if nothing did."""
    key_id = found.key_id or ""
    key = names.get(key_id, key_id)
    if found.answered is not None:
        return _answered(found.answered, key_id, key)
    if (refused := found.refused) is not None:
        words = help_of(refused.reason)
        title = f"A request came, and was refused: {words.title}"
        return Guide(f"refused-{refused.request_id}", "red", title, refused.message, words.remedy, key_id, done=False)
    if found.failed is not None:
        return _failed(found.failed, key_id, key)
    text = "Nothing has come yet. This page looks every two seconds, and says when a request lands or why it fails."
    return Guide("waiting", "", "Waiting for the first request", text, "", "", done=False)


def _answered(request: RequestView, key_id: str, key: str) -> Guide:
    text = (
        f"{request.served_model or request.model or request.endpoint} answered the key “{key}” in "
        f"{length(request.latency_ms)}. It cost {signed_dollars(request.cost_nanos)} (exactly ${request.cost_usd})."
    )
    return Guide(f"answered-{request.id}", "green", "The first request has landed", text, "", key_id, done=True)


def _failed(request: RequestView, key_id: str, key: str) -> Guide:
    status = "gave no answer" if request.provider_status is None else f"answered {request.provider_status}"
    title = "A request came, and the provider failed it"
    text = (
        f"The request of the key “{key}” was sent on, but the provider {status}. "
        f"It cost {signed_dollars(request.cost_nanos)}."
    )
    remedy = "Read the provider's message in the app. If it is about the credential, an administrator sets a new one."
    return Guide(f"failed-{request.id}", "red", title, text, remedy, key_id, done=False)


def providers(found: Sequence[ProviderView]) -> list[ProviderRow]:
    """Each with who answers for it."""
    late = waiting(found)
    return [_provider(view, waits=view.provider in late) for view in found]


def _provider(view: ProviderView, *, waits: bool) -> ProviderRow:
    if view.custom is not None and not view.custom.enabled:
        return ProviderRow(view.label, "nobody", "Switched off: requests are refused")
    if view.custom is not None and not view.custom.needs_credential:
        return ProviderRow(view.label, "real", "Asked without a credential")
    if view.credential is None:
        return ProviderRow(view.label, "nobody", "No credential: requests are refused")
    if not view.credential.readable:
        return ProviderRow(view.label, "nobody", "Cannot be opened: requests are refused")
    if view.credential.source == "sandbox":
        return ProviderRow(view.label, "sandbox", "The built-in sandbox answers")
    ending = f"Credential ending in {view.credential.last4}"
    if waits:
        return ProviderRow(view.label, "waiting", f"{ending}: waits for a restart, until then requests fail")
    return ProviderRow(view.label, "real", ending)


def behind(rows: Iterable[ProviderRow]) -> Behind:
    """Who answers at all."""
    who = {row.behind for row in rows}
    return "real" if "real" in who else "sandbox" if who & {"sandbox", "waiting"} else "nobody"


def _look(counts: KeyCounts, name: key_counts.Look, label: str, hint: str, **also: str) -> Look:
    """The number with the address of its keys, and of nothing else."""
    count = counts.numbers[name]
    told = f"{COUNTED:,}+" if count > COUNTED else f"{count:,}"
    href = f"/keys?{urlencode({**key_counts.ASKED[name], **also})}"
    return Look(told, label, hint, href, "amber" if count else "green")

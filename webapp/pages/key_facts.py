"""One key in the words of its page: its limits and what is left, its latest requests and refusals.

Views in, frozen facts out, no HTML.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from webapp.pages.key_hints import NO_OWN, model_hints
from webapp.pages.key_presenter import PERIOD_WORDS, spend
from webapp.pages.request_presenter import Mark, asked_model, mark, model_words, provider_label
from webapp.queries.key_activity import KeyUse
from webapp.render import dollars, length, relative, signed_dollars
from webapp.views.attention import NEAR_PERCENT
from webapp.views.calendar import exact
from webapp.views.custom_providers import label_of
from webapp.views.keys import KeyView, SecretView
from webapp.views.model_limits import ModelLimitView, ModelSpendView
from webapp.views.organization import OrganizationStanding
from webapp.views.refusal_help import RefusalHelp, help_of
from webapp.views.request_words import flag_words
from webapp.views.requests import RefusalView, RequestView
from webapp.views.spend import SpendView

NO_LIMIT = "No limit"
NO_OWN_LIMIT = "No limit of its own"  # but others that its requests count against


@dataclass(frozen=True, slots=True)
class LimitFacts:
    """One limit: what is left of it, and the rest. `percent` of it is used, where there is a bar to draw."""

    label: str
    left: str
    note: str = ""
    title: str = ""  # exact, where the others are rounded
    entries: tuple[tuple[str, str], ...] = ()  # of a list: an entry and a remark
    tone: str = "none"
    percent: int | None = None


@dataclass(frozen=True, slots=True)
class RefusalFacts:
    """A reason for which the key was refused, and the last time of it."""

    help: RefusalHelp
    code: str
    status: int
    times: str
    last_at: datetime
    last: str
    model: str | None
    client_ip: str | None
    message: str
    request_id: str


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """One attempt at a provider."""

    id: str
    at: datetime
    when: str
    model: str
    asked_for: str | None  # where another model answered
    endpoint: str
    tokens: str
    cost: str
    cost_exact: str
    latency: str
    first_byte: str
    mark: Mark
    flags: tuple[str, ...]


def limits(
    view: KeyView,
    use: KeyUse,
    secrets: tuple[SecretView, ...],
    maker: str,
    at: datetime,
    own: Mapping[str, tuple[str, ...]] = NO_OWN,
    together: OrganizationStanding | None = None,
) -> tuple[LimitFacts, ...]:
    """All that limits it, the money first; `maker` is how whoever made it is called.

    `own` are the known models of the organisation's own providers, `together` what limits all its keys, if anything.
    """
    all_rpm = None if together is None else together.rate_limit_rpm
    of_all = () if together is None else _of_all(together, at)
    return (
        _spend(view, at, NO_OWN_LIMIT if view.model_limits or of_all else NO_LIMIT),
        *(_of_models(limit, at) for limit in view.model_limits),
        *of_all,
        LimitFacts("Spent in all", dollars(view.spend.lifetime_nanos), title=f"${view.spend.lifetime_usd}"),
        _rate(
            "Requests a minute", view.rate_limit_rpm, use.requests_left, NO_LIMIT if all_rpm is None else NO_OWN_LIMIT
        ),
        *(
            ()
            if all_rpm is None
            else (LimitFacts("Requests a minute of all keys", f"{all_rpm:,}", "in any 60 seconds"),)
        ),
        _rate("Tokens a minute", view.rate_limit_tpm, use.tokens_left),
        _concurrent(view, use.in_flight),
        _moment("Expires", view.expires_at, "Never", at),
        _list(
            "Models",
            "All models",
            tuple((hint.line, hint.text) for hint in model_hints(view.allowed_models, view.allowed_providers, own)),
        ),
        _list("Providers", "All providers", tuple((label_of(slug), "") for slug in view.allowed_providers)),
        _list("Addresses", "Any address", tuple((entry, "") for entry in view.allowed_ips)),
        _list("Secrets", "None", tuple(_secret(secret, at) for secret in secrets)),
        *_about(view),
        LimitFacts("Created", exact(view.created_at), f"by {maker}"),
        _moment("Last used", view.last_used_at, "Never", at),
    )


def _about(view: KeyView) -> tuple[LimitFacts, ...]:
    """What people wrote of it, as far as they did."""
    told = [_list("Tags", "", tuple((tag, "") for tag in view.tags))] if view.tags else []
    if view.owner_email is not None:
        told.append(LimitFacts("Owner", view.owner_email))
    if view.note is not None:
        told.append(LimitFacts("Note", "", view.note))
    return tuple(told)


def _spend(view: KeyView, at: datetime, without: str) -> LimitFacts:
    facts, limit, remaining = (
        spend(replace(view, model_limits=()), at),
        view.spend.limit_nanos,
        view.spend.remaining_nanos,
    )
    if limit is None or remaining is None:
        return LimitFacts("Spend", without, title=facts.exact)
    resets_at = view.spend.resets_at
    period = "in all" if view.spend_reset == "never" else PERIOD_WORDS[view.spend_reset]
    note = f"of {dollars(limit)} {period} · {dollars(view.spend.spent_nanos)} spent"
    if view.spend.held_nanos:
        note += f" · {dollars(view.spend.held_nanos)} held by requests in flight"
    if view.spend_limit_boost_until is not None:
        note += f" · ${view.spend_limit_boost_usd} of it a raise until {exact(view.spend_limit_boost_until)}"
    note += " · never resets" if resets_at is None else f" · resets {relative(resets_at, at)}, on {exact(resets_at)}"
    return LimitFacts("Spend", f"{dollars(remaining)} left", note, facts.exact, tone=facts.tone, percent=facts.percent)


def _of_models(limit: ModelLimitView, at: datetime) -> LimitFacts:
    remaining = limit.spend.remaining_nanos
    return _money(f"Models {limit.model}", limit.limit_nanos, limit.spend_reset, limit.spend, remaining, at)


def _of_all(standing: OrganizationStanding, at: datetime) -> tuple[LimitFacts, ...]:
    spend = standing.spend
    if spend.limit_nanos is None or spend.remaining_nanos is None:
        return ()
    label = "Spend of all keys"
    return (_money(label, spend.limit_nanos, standing.spend_reset, spend, spend.remaining_nanos, at),)


def _money(
    label: str, most: int, spend_reset: str, spend: ModelSpendView | SpendView, remaining: int, at: datetime
) -> LimitFacts:
    percent = 100 if not most else min(100, spend.spent_nanos * 100 // most)
    tone = "red" if percent >= 100 else "amber" if percent >= NEAR_PERCENT else "green"
    period = "in all" if spend_reset == "never" else PERIOD_WORDS[spend_reset]
    note = f"of {dollars(most)} {period} · {dollars(spend.spent_nanos)} spent"
    if spend.held_nanos:
        note += f" · {dollars(spend.held_nanos)} held by requests in flight"
    resets_at = spend.resets_at
    note += " · never resets" if resets_at is None else f" · resets {relative(resets_at, at)}, on {exact(resets_at)}"
    told = f"Spent ${spend.spent_usd}, held by requests in flight ${spend.held_usd}"
    return LimitFacts(label, f"{dollars(remaining)} left", note, told, tone=tone, percent=percent)


def _rate(label: str, limit: int | None, left: int | None, without: str = NO_LIMIT) -> LimitFacts:
    if limit is None:
        return LimitFacts(label, without)
    if left is None:
        return LimitFacts(label, f"{limit:,}", "how many are left cannot be told at the moment")
    return LimitFacts(label, f"{left:,} left", f"of {limit:,} in any 60 seconds")


def _concurrent(view: KeyView, in_flight: int | None) -> LimitFacts:
    label, limit = "Requests at once", view.max_concurrent_requests
    if limit is None:
        return LimitFacts(label, NO_LIMIT)
    if in_flight is None:
        return LimitFacts(label, f"{limit:,}", "how many are in flight cannot be told at the moment")
    return LimitFacts(label, f"{max(0, limit - in_flight):,} left", f"of {limit:,}; {in_flight:,} in flight now")


def _moment(label: str, moment: datetime | None, never: str, at: datetime) -> LimitFacts:
    return LimitFacts(label, never) if moment is None else LimitFacts(label, relative(moment, at), exact(moment))


def _list(label: str, nothing: str, entries: tuple[tuple[str, str], ...]) -> LimitFacts:
    return LimitFacts(label, "" if entries else nothing, entries=entries)


def _secret(secret: SecretView, at: datetime) -> tuple[str, str]:
    until = secret.valid_until
    made = f"made {relative(secret.created_at, at)}"
    return f"{secret.prefix}…", made if until is None else f"{made}, rotated out: opens it until {exact(until)}"


def refusal_facts(view: RefusalView, at: datetime) -> RefusalFacts:
    return RefusalFacts(
        help=help_of(view.reason),
        code=view.reason,
        status=view.status,
        times="once" if view.count == 1 else f"{view.count:,} times",
        last_at=view.last_at,
        last=relative(view.last_at, at),
        model=view.model,
        client_ip=view.client_ip,
        message=view.message,
        request_id=view.request_id,
    )


def request_facts(view: RequestView, at: datetime) -> RequestFacts:
    return RequestFacts(
        id=view.id,
        at=view.at,
        when=relative(view.at, at),
        model=model_words(view.served_model, view.model),
        asked_for=asked_model(view),
        endpoint=f"{provider_label(view.provider)} {view.endpoint}",
        tokens=f"{view.input_tokens:,} in, {view.output_tokens:,} out",
        cost=signed_dollars(view.cost_nanos),
        cost_exact=f"${view.cost_usd}",
        latency=length(view.latency_ms),
        first_byte=length(view.first_byte_ms),
        mark=mark(view),
        flags=flag_words(view),
    )

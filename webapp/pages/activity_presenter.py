"""Requests and refusals in the words of the dashboard. Views in, frozen facts out, no HTML."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from shared.policy import Reason
from shared.pricing.table import units_by_usage_key
from webapp.access import Role
from webapp.pages.request_presenter import Mark, asked_model, mark, model_words, provider_label
from webapp.queries.activity import KeyName
from webapp.render import length, relative, signed_dollars
from webapp.views.keys import KeyView
from webapp.views.refusal_help import RefusalHelp, help_of
from webapp.views.requests import RefusalView, RequestView

# Where in the form of a key the rule stands that refused, by the id of its field.
_FIELDS = {
    Reason.KEY_EXPIRED: "key-expires",
    Reason.IP_BLOCKED: "key-allowed_ips",
    Reason.PROVIDER_NOT_ALLOWED: "key-allowed_providers",
    Reason.MODEL_NOT_ALLOWED: "key-allowed_models",
    Reason.ENDPOINT_NOT_METERED: "key-spend_limit_usd",
    Reason.MODEL_NOT_PRICED: "key-spend_limit_usd",
    Reason.TOKENS_NOT_BOUNDED: "key-rate_limit_tpm",
    Reason.RATE_LIMITED: "key-rate_limit_rpm",
    Reason.TOKEN_RATE_LIMITED: "key-rate_limit_tpm",
    Reason.TOO_MANY_CONCURRENT: "key-max_concurrent_requests",
    Reason.SPEND_EXCEEDED: "key-spend_limit_usd",
    Reason.SPEND_HELD: "key-spend_limit_usd",
    Reason.MODEL_SPEND_EXCEEDED: "key-model_limits",
    Reason.MODEL_SPEND_HELD: "key-model_limits",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment as a log tells it: the time of day, and the day when it is not this one."""

    at: datetime
    text: str
    ago: str


@dataclass(frozen=True, slots=True)
class SentRow:
    """A row of the requests that were sent. `key` is None for a key that is not there."""

    id: str
    when: Moment
    key_id: str
    key: KeyName | None
    model: str
    asked_for: str | None  # where another model answered
    provider: str
    mark: Mark
    status: str
    tokens: str
    cost: str
    took: str


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row of the refusals: a key and a reason."""

    key_id: str
    reason: str
    when: Moment
    key: KeyName | None
    help: RefusalHelp
    count: str
    model: str
    address: str


@dataclass(frozen=True, slots=True)
class PricedLine:
    """So many of a class, and what they cost; `rate` is empty where the price names none for it."""

    label: str
    count: str
    rate: str


@dataclass(frozen=True, slots=True)
class PricedPart:
    """What one model used. `source` says whose price it is."""

    model: str
    source: str
    lines: tuple[PricedLine, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """Where somebody changes what refused, and who may."""

    label: str
    href: str
    role: Role


def moment(when: datetime, at: datetime) -> Moment:
    utc, today = when.astimezone(UTC), at.astimezone(UTC)
    time = f"{utc:%H:%M:%S}"
    if utc.date() == today.date():
        return Moment(when, time, relative(when, at))
    year = "" if utc.year == today.year else f" {utc.year}"
    return Moment(when, f"{utc.day} {utc:%b}{year} {time}", relative(when, at))


def sent_row(view: RequestView, key: KeyName | None, at: datetime) -> SentRow:
    """All of a row, as seen at the moment `at`."""
    return SentRow(
        id=view.id,
        when=moment(view.at, at),
        key_id=view.key_id,
        key=key,
        model=model_words(view.served_model, view.model),
        asked_for=asked_model(view),
        provider=provider_label(view.provider),
        mark=mark(view),
        status="None" if view.status is None else str(view.status),
        tokens=f"{view.input_tokens:,} in, {view.output_tokens:,} out",
        cost=signed_dollars(view.cost_nanos),
        took=length(view.latency_ms),
    )


def refused_row(view: RefusalView, key: KeyName | None, at: datetime) -> RefusedRow:
    """All of a row, as seen at the moment `at`."""
    return RefusedRow(
        key_id=view.key_id,
        reason=view.reason,
        when=moment(view.last_at, at),
        key=key,
        help=help_of(view.reason),
        count=f"{view.count:,}",
        model=model_words(view.model),
        address=view.client_ip or "Unknown",
    )


def setting_of(view: RefusalView, key: KeyView | None) -> Setting | None:
    """Where the rule that refused can be changed; None where there is none, or it is not the router's.

    A key that is revoked or gone (None) can be edited no more, so a rule of its own leads nowhere.
    """
    reason = view.reason
    if (key is None or key.status == "revoked") and (reason in _FIELDS or reason == Reason.KEY_PAUSED):
        return None
    if reason in _FIELDS:
        field = _FIELDS[Reason(reason)]
        unlimited = key is not None and key.spend_limit_usd is None
        if unlimited and key is not None and key.model_limits and field == _FIELDS[Reason.MODEL_NOT_PRICED]:
            field = _FIELDS[Reason.MODEL_SPEND_EXCEEDED]
        elif reason == Reason.ENDPOINT_NOT_METERED and key is not None and unlimited:
            field = field if key.rate_limit_tpm is None else _FIELDS[Reason.TOKENS_NOT_BOUNDED]
        return Setting("Change this rule", f"/keys/{view.key_id}/edit#{field}", "member")
    if reason == Reason.KEY_PAUSED:
        return Setting("Resume the key", f"/keys/{view.key_id}/edit#key-paused", "member")
    if reason == Reason.KEY_REVOKED:
        return Setting("Who revoked it", f"/audit?target={view.key_id}&action=key.revoke", "viewer")
    if reason == Reason.PROVIDER_NOT_CONFIGURED:
        return Setting("Set the credential", "/providers", "admin")
    return None


def priced(view: RequestView) -> tuple[PricedPart, ...]:
    """What was used at which rates; each model that took part by itself."""
    if view.price is None:
        return (PricedPart(model_words(view.served_model, view.model), "no price was known", _lines(view.usage, {})),)
    parts = view.price.get("parts") or [{**view.price, "usage": view.usage}]
    return tuple(PricedPart(part["id"], _source(part), _lines(part["usage"], part["rates"])) for part in parts)


def _source(price: Mapping[str, Any]) -> str:
    tier = f", {price['service_tier']} tier" if price.get("service_tier") else ""
    if price.get("override"):
        return f"your organisation's own price{tier}"
    return f"price table {price['version']}{tier}"


def _lines(usage: Mapping[str, int], rates: Mapping[str, str]) -> tuple[PricedLine, ...]:
    def lines() -> Iterator[PricedLine]:
        units = units_by_usage_key()
        for name, count in usage.items():
            if not count and any(usage.values()):
                continue  # a provider tells of all that there might be
            rate = rates.get(name)
            told = "" if rate is None or name not in units else f"${rate} for {units[name].per:,}"
            yield PricedLine(name.replace("_", " ").capitalize(), f"{count:,}", told)

    return tuple(lines())

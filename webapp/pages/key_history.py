"""The audit trail of one key in people's words: who did what, and what each field was before and is now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from shared.catalog import PROVIDERS
from webapp.pages.key_presenter import PERIOD_WORDS
from webapp.queries.audit import AuditView
from webapp.render import exact, relative, span

_ACTIONS = {
    "key.create": "Created the key",
    "key.update": "Changed the key",
    "key.rotate": "Gave it a new secret",
    "key.revoke": "Revoked the key",
}
_LABELS = {
    "name": "Name",
    "spend_limit_usd": "Spend limit",
    "spend_reset": "Period of the limit",
    "rate_limit_rpm": "Requests a minute",
    "allowed_providers": "Providers",
    "allowed_models": "Models",
    "allowed_ips": "Addresses",
    "expires_at": "Expires",
    "paused": "Paused",
    "prefix": "Secret",
}
# What a field without a value means.
_NOTHING = {
    "spend_limit_usd": "no limit",
    "rate_limit_rpm": "no limit",
    "allowed_providers": "all",
    "allowed_models": "all",
    "allowed_ips": "any",
    "expires_at": "never",
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A field before and after; `before` is None where there was nothing before."""

    label: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Entry:
    """An event. `paused` and `resumed` have words of their own, as they are what people look for."""

    at: datetime
    when: str
    actor: str
    ip: str | None
    action: str
    changes: tuple[FieldChange, ...]


def history(events: tuple[AuditView, ...], at: datetime) -> tuple[Entry, ...]:
    return tuple(_entry(event, at) for event in events)


def _entry(event: AuditView, at: datetime) -> Entry:
    before, after = event.before or {}, event.after or {}
    action = _ACTIONS.get(event.action, event.action)
    changes = tuple(
        FieldChange(_LABELS[name], _words(name, before[name]) if name in before else None, _words(name, value))
        for name, value in after.items()
        if name in _LABELS and (event.before is not None or value not in (None, [], False, "never"))
    )
    if event.action == "key.update" and set(after) == {"paused"}:
        action, changes = "Paused the key" if after["paused"] else "Resumed the key", ()
    elif event.action == "key.rotate":
        action += _grace(after)
    elif event.action == "key.revoke":
        changes = ()
    return Entry(event.at, relative(event.at, at), event.actor, event.ip, action, changes)


def _grace(after: Mapping[str, Any]) -> str:
    seconds = after.get("grace_seconds")
    if not isinstance(seconds, int):
        return ""
    return f"; the old one went on for {span(timedelta(seconds=seconds))}" if seconds else "; the old one ended at once"


def _words(name: str, value: object) -> str:
    """A value as the form shows it."""
    if value in (None, [], ""):
        return _NOTHING.get(name, "none")
    if name == "spend_limit_usd":
        return f"${value}"
    if name == "spend_reset":
        return PERIOD_WORDS.get(str(value), str(value))
    if name == "allowed_providers" and isinstance(value, list):
        return ", ".join(PROVIDERS[slug].label if slug in PROVIDERS else str(slug) for slug in value)
    if name == "expires_at":
        return _moment(str(value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value}…" if name == "prefix" else f"{value:,}" if isinstance(value, int) else str(value)


def _moment(text: str) -> str:
    try:
        return exact(datetime.fromisoformat(text))
    except ValueError:
        return text

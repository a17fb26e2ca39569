"""The audit log in people's words: who did what to which, and what that changed. Views in, facts out, no HTML."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from webapp.pages.activity_presenter import Moment, moment
from webapp.pages.key_presenter import PERIOD_WORDS
from webapp.pages.key_values import limit_words
from webapp.pages.request_presenter import provider_label
from webapp.queries.audit import AuditView
from webapp.render import span
from webapp.views.calendar import exact

# What was done, by the action as events have it. An action that is not here is told by its own name.
ACTIONS = {
    "key.create": "Created a key",
    "key.update": "Changed a key",
    "key.rotate": "Gave a key a new secret",
    "key.end_old_secrets": "Ended the old secrets of a key",
    "key.revoke": "Revoked a key",
    "key.hand_over": "Made a link that shows a key's secret once",
    "key.hand_over_seen": "A key's secret was shown by its link",
    "key.hand_over_end": "Ended a link to a key's secret",
    "key.hand_over_lapse": "A link to a key's secret lapsed unseen",
    "user.create": "Added a member",
    "user.role": "Changed what a member may do",
    "user.password": "Changed their own password",
    "user.password_reset": "Made a new password for a member",
    "user.deactivate": "Deactivated a member",
    "user.activate": "Let a member in again",
    "user.link": "Came through the sign-in provider for the first time",
    "user.unlink": "Unlinked a member from the sign-in provider",
    "user.role_kept": "Left the last administrator one",
    "invitation.create": "Invited somebody",
    "invitation.accept": "Accepted an invitation",
    "invitation.withdraw": "Withdrew an invitation",
    "token.create": "Created a management token",
    "token.revoke": "Revoked a management token",
    "credential.set": "Set a provider's credential",
    "credential.create": "Added a provider's credential",
    "credential.update": "Changed how a provider's credential is used",
    "credential.delete": "Removed a provider's credential",
    "credential.reseal": "Sealed a credential with a new key",
    "provider.create": "Added a provider of the organisation's own",
    "provider.update": "Changed a provider",
    "provider.delete": "Removed a provider",
    "price.set": "Set a price of a model",
    "price.delete": "Went back to the price table",
    "organization.create": "Set up the organisation",
    "organization.update": "Changed the organisation",
    "alerts.update": "Changed what is told of",
    "alerts.key": "Changed what is told of a key",
    "alerts.test": "Tried where alerts go",
    "alerts.retry": "Sent an alert once more",
    "webhook.create": "Made a webhook",
    "webhook.update": "Changed a webhook",
    "webhook.rotate": "Gave a webhook another secret",
    "webhook.delete": "Deleted a webhook",
    "session.end": "Ended a session",
    "session.end_all": "Logged out everywhere else",
    "login.accept": "Logged in",
    "login.refuse": "Failed to log in",
}
AREAS = {
    "key.": "All about keys",
    "user.": "All about members",
    "invitation.": "All about invitations",
    "token.": "All about tokens",
    "credential.": "All about credentials",
    "provider.": "All about providers",
    "price.": "All about prices",
    "organization.": "All about the organisation",
    "alerts.": "All about alerts",
    "webhook.": "All about webhooks",
    "session.": "All about sessions",
    "login.": "All logins",
}
_FIELDS = {
    "spend_limit_usd": "Spend limit",
    "spend_reset": "Period of the limit",
    "spend_limit_boost_usd": "Raise of the limit",
    "spend_limit_boost_until": "End of the raise",
    "model_limits": "Limits for models",
    "time_zone": "Time zone",
    "rate_limit_rpm": "Requests a minute",
    "rate_limit_tpm": "Tokens a minute",
    "max_concurrent_requests": "Requests at once",
    "allowed_providers": "Providers",
    "allowed_models": "Models",
    "allowed_ips": "Addresses",
    "expires_at": "Expires",
    "prefix": "Secret",
    "prefixes": "Secrets",
    "owner_email": "Owner",
    "grace_seconds": "Old secret works on for",
    "last4": "Ends in",
    "base_url": "Base URL",
    "auth": "How its credential goes",
    "api_version": "api-version",
    "stream_options": "Streams are asked for usage",
    "rates": "Prices",
    "ended": "Sessions ended",
    "through": "By way of",
    "groups_give": "Role by groups",
}
# What a field means that has no value.
_NONE = {
    "spend_limit_usd": "No limit",
    "spend_limit_boost_usd": "No raise",
    "spend_limit_boost_until": "No raise",
    "rate_limit_rpm": "No limit",
    "rate_limit_tpm": "No limit",
    "max_concurrent_requests": "No limit",
    "model_limits": "No limits",
    "allowed_providers": "All",
    "allowed_models": "All",
    "allowed_ips": "Any",
    "expires_at": "Never",
    "api_version": "None",
    "tags": "None",
    "owner_email": "Nobody",
    "note": "None",
}
_SYSTEM = "The router itself"
_ONLY_ADMINS = ("usr", "tok", "org")


@dataclass(frozen=True, slots=True)
class Change:
    """A field; None on a side that says nothing of it."""

    label: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An event."""

    id: str
    when: Moment
    actor: str
    action: str
    code: str
    target: str
    target_href: str | None
    summary: str  # the changes in one line
    changes: tuple[Change, ...]
    address: str


def audit_row(view: AuditView, names: Mapping[str, str], at: datetime, *, may_administer: bool) -> AuditRow:
    """All of a row, as seen at the moment `at`; `names` are those of things by their ids."""
    told = tuple(changes(view))
    return AuditRow(
        id=view.id,
        when=moment(view.at, at),
        actor=_SYSTEM if view.actor == "system" else names.get(view.actor, view.actor),
        action=action_words(view),
        code=view.action,
        target=_target(view, names),
        target_href=_href(view.target, may_administer=may_administer) if view.target in names else None,
        summary="; ".join(_in_short(change) for change in told),
        changes=told,
        address=view.ip or "Not by network",
    )


def action_words(view: AuditView) -> str:
    """Such as `Created a key`. Pausing and resuming have words of their own, as they are what people look for."""
    if is_pause(view):
        return "Paused a key" if (view.after or {})["paused"] else "Resumed a key"
    return ACTIONS.get(view.action) or view.action.replace(".", ": ", 1).replace("_", " ").capitalize()


def is_pause(view: AuditView) -> bool:
    """Whether a key was paused or resumed, and nothing else of it changed."""
    return view.action == "key.update" and set(view.after or {}) == {"paused"}


def changes(view: AuditView) -> Iterator[Change]:
    """What an event tells, and of what was changed only that; a thing that is made tells what it was given."""
    before, after = view.before or {}, view.after or {}
    both = view.before is not None and view.after is not None
    for name in sorted(dict.fromkeys((*before, *after)), key="prefix".__eq__):  # which says the least comes last
        old, new = before.get(name), after.get(name)
        if (both and old == new and name in before and name in after) or (not both and _is_nothing(old or new)):
            continue
        yield Change(
            _FIELDS.get(name, name.replace("_", " ").capitalize()),
            _words(name, old) if name in before else None,
            _words(name, new) if name in after else None,
        )


def _is_nothing(value: object) -> bool:
    """What a new thing has when nobody says otherwise."""
    return value in (None, [], "", False, "never")


def _in_short(change: Change) -> str:
    if change.before is not None and change.after is not None:
        return f"{change.label}: {change.before} \u2192 {change.after}"
    return f"{change.label}: {change.after if change.before is None else change.before}"


def _words(name: str, value: Any) -> str:
    """A value as forms have it."""
    if value is None or value in ([], ""):
        return _NONE.get(name, "Nothing")
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if name.endswith("_usd"):
        return f"${value}"
    if name == "model_limits" and isinstance(value, list):
        return ", ".join(limit_words(one) for one in value)
    if name == "spend_reset":
        return PERIOD_WORDS.get(value, str(value))
    if name in ("provider", "allowed_providers"):
        return ", ".join(provider_label(str(slug)) for slug in (value if isinstance(value, list) else [value]))
    if name.endswith(("_at", "_until")) and isinstance(value, str):
        return _moment_words(value)
    if name in ("prefix", "prefixes"):
        return ", ".join(f"{prefix}…" for prefix in (value if isinstance(value, list) else [value]))
    if name.endswith("_seconds") and isinstance(value, int):
        return span(timedelta(seconds=value)) if value else "Not at all"
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{part.replace('_', ' ')} {_words(part, one)}" for part, one in value.items())
    if isinstance(value, list):
        return ", ".join(str(one) if isinstance(one, str) else json.dumps(one) for one in value)
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


def _moment_words(text: str) -> str:
    try:
        return exact(datetime.fromisoformat(text))
    except ValueError:
        return text


def _target(view: AuditView, names: Mapping[str, str]) -> str:
    """What it was done to, by its name; of things that have none, by what the event tells of them."""
    told = {**(view.before or {}), **(view.after or {})}
    if view.target in names:
        return names[view.target]
    if "provider" in told:
        return _words("provider", told["provider"]) + (f" {told['model']}" if "model" in told else "")
    return str(told.get("name") or told.get("email") or view.target)


def _href(target: str, *, may_administer: bool) -> str | None:
    tag = target.partition("_")[0]
    if tag in _ONLY_ADMINS and not may_administer:
        return None
    return {
        "key": f"/keys/{target}",
        "usr": "/settings/members",
        "tok": "/settings#tokens",
        "org": "/settings",
    }.get(tag)

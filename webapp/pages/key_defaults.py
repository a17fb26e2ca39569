"""What the form of a new key holds when it is shown: the organisation's defaults."""

from datetime import datetime

from webapp.schemas.key_rules import KeyRules, in_days


def usual(rules: KeyRules, now: datetime, preset_days: tuple[str, ...]) -> dict[str, str]:
    """The form's fields; an expiry that is none of the presets is a custom one."""
    said, days = rules.completed({}, now), rules.default_expiry_days
    if days is None:
        days = rules.max_expiry_days  # "never" would be refused, so the form does not begin with it
    rate, tokens = rules.default_rate_limit_rpm, rules.default_rate_limit_tpm
    known = {
        "spend_limit_usd": str(said["spend_limit_usd"] or ""),
        "spend_reset": rules.default_spend_reset,
        "expires": "never",
        "rate_limit_rpm": "" if rate is None else str(rate),
        "rate_limit_tpm": "" if tokens is None else str(tokens),
    }
    if days is not None:
        known["expires"] = str(days) if str(days) in preset_days else "custom"
        known["expires_at"] = f"{in_days(now, days):%Y-%m-%dT%H:%M}"
    return known

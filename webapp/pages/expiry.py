"""The choice of an expiry, in the form of a key and in that of many: some days from now, a moment, or never."""

from datetime import UTC, datetime

from wtforms.fields import SelectChoice

from webapp.render import rfc3339
from webapp.schemas.key_rules import in_days
from webapp.validation import FieldError, Invalid

PRESET_DAYS = ("7", "30", "60", "90")
NEVER = SelectChoice("never", "Never")
LATER = [*(SelectChoice(days, f"In {days} days") for days in PRESET_DAYS), SelectChoice("custom", "Custom")]


def expiry_of(choice: str | None, typed: str | None, now: datetime) -> str | None:
    """The moment as actions take it; None is never. Raises Invalid: what is not understood must not become never."""
    if choice in PRESET_DAYS:
        return rfc3339(in_days(now, int(choice)))
    if choice == "never":
        return None
    if choice != "custom":
        raise Invalid(FieldError("expires", "pick one of the choices"))
    return moment_of("expires_at", typed)


def moment_of(field: str, typed: str | None) -> str:
    """A date and a time, in UTC where nothing else is said, as actions take them. Raises Invalid."""
    try:
        moment = datetime.fromisoformat(typed or "")
        return rfc3339(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Invalid(FieldError(field, "pick a date and a time, such as 2027-01-31 00:00")) from None


def shown_moment(moment: datetime | None) -> str:
    """As a browser's field for a date and a time holds it: in UTC, to the minute."""
    return "" if moment is None else f"{moment:%Y-%m-%dT%H:%M}"

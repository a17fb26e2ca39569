"""What is worth a second thought before a spend limit is saved: that its period has seen as much already."""

from shared.money import from_usd
from webapp.render import dollars


def below_spent(whose: str, spent_nanos: int, limit: object, *, raised_by: object = None, what: str = "") -> str | None:
    """A warning when a limit in dollars lies at or below what was spent; None otherwise, and for what is no amount.

    `whose` begins the sentence ("This key has"); `what` is what it is a limit of, where that is not all requests.
    """
    try:
        nanos = from_usd(str(limit)) + (0 if raised_by is None else from_usd(str(raised_by)))
    except ValueError:
        return None
    if not spent_nanos or nanos > spent_nanos:
        return None
    on, of = (f" on models {what}", " for them") if what else ("", "")
    return (
        f"{whose} already spent {dollars(spent_nanos)}{on}, so with a limit of {dollars(nanos)} every request{of} that "
        f"costs anything is refused at once. Save again if that is what you want."
    )

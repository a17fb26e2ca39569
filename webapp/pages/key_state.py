"""How a key stands, in one badge: what the list says of it, and where that says that all is well, what was refused."""

from datetime import datetime, timedelta

from shared.policy import ERRORS, Reason
from webapp.pages.key_presenter import Badge, badge
from webapp.queries.key_activity import Recent
from webapp.render import relative
from webapp.views.keys import KeyView
from webapp.views.refusal_help import help_of

LATELY = timedelta(days=1)


def state_of(view: KeyView, recent: Recent, at: datetime) -> Badge:
    """A refusal counts until a request has passed since, or somebody has changed the key."""
    shown = badge(view, at)
    if not recent.refusals or view.status != "active" or shown.tone == "red":
        return shown
    last = recent.refusals[0]
    since = [request.at for request in recent.requests[:1]] + [event.at for event in recent.events[:1]]
    if at - last.last_at > LATELY or any(moment > last.last_at for moment in since):
        return shown
    told = help_of(last.reason)
    hint = f"The last request was refused {relative(last.last_at, at)}. {told.cause} Below stands what to do."
    return Badge("amber" if _may_pass(last.reason) else "red", "stop", f"Blocked: {told.title.lower()}", hint)


def _may_pass(reason: str) -> bool:
    """Whether the same request may pass later."""
    return reason in set(Reason) and ERRORS[Reason(reason)].retry

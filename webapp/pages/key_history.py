"""The audit trail of one key, in the words of the audit log: who did what, and what each field was and is now."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from webapp.pages.audit_presenter import Change, action_words, changes, is_pause
from webapp.queries.audit import AuditView
from webapp.render import relative


@dataclass(frozen=True, slots=True)
class Entry:
    """An event. One that only paused or resumed the key says so in its action and needs no field beside it."""

    at: datetime
    when: str
    actor: str
    ip: str | None
    action: str
    changes: tuple[Change, ...]


def history(events: tuple[AuditView, ...], actors: Mapping[str, str], at: datetime) -> tuple[Entry, ...]:
    """As seen at the moment `at`; `actors` are how those who acted are called."""
    return tuple(
        Entry(
            event.at,
            relative(event.at, at),
            actors[event.actor],
            event.ip,
            action_words(event),
            () if is_pause(event) else tuple(changes(event)),
        )
        for event in events
    )

"""One change of many keys: each by itself, with its own audit event, so that one that fails keeps no other back."""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.actions.keys import revoke_key, update_key
from webapp.actions.policy import NotInForce
from webapp.context import Actor, Conflict, NotFound, now
from webapp.schemas.bulk import BulkChange
from webapp.schemas.values import to_json_moment
from webapp.validation import Invalid, read
from webapp.views.keys import KeyView


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one key: its view, or what was raised."""

    key_id: str
    view: KeyView | None
    error: Exception | None


def change_many(actor: Actor, document: Mapping[str, object]) -> tuple[BulkChange, tuple[Outcome, ...]]:
    """Revoke, pause, resume or extend the keys that the document names. Raises Invalid, before anything is written."""
    wanted = read(BulkChange, document, now=now())
    return wanted, tuple(_change(actor, key_id, wanted) for key_id in wanted.ids)


def _change(actor: Actor, key_id: str, wanted: BulkChange) -> Outcome:
    patch: dict[str, object] = {"paused": wanted.action == "pause"}
    if wanted.action == "extend":
        patch = {"expires_at": to_json_moment(wanted.expires_at)}
    try:
        view = revoke_key(actor, key_id) if wanted.action == "revoke" else update_key(actor, key_id, patch)
    except (NotFound, Conflict, Invalid, NotInForce) as error:
        return Outcome(key_id, None, error)
    return Outcome(key_id, view, None)

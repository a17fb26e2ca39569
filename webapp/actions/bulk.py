"""One change of many keys: each by itself, with its own audit event, so that one that fails keeps no other back.

Only the proxies are told of all of them at once, so that counters that do not answer are waited for once.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from webapp.actions import policy
from webapp.actions.keys import save_edit, save_revocation
from webapp.actions.policy import NotInForce
from webapp.context import Actor, Conflict, NotFound, now
from webapp.schemas.bulk import BulkChange
from webapp.schemas.values import to_json_moment
from webapp.validation import Invalid, read
from webapp.views.keys import KeyView, row_of, view_of


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one key: its view, or what was raised."""

    key_id: str
    view: KeyView | None
    error: Exception | None


def change_many(actor: Actor, document: Mapping[str, object]) -> tuple[BulkChange, tuple[Outcome, ...]]:
    """Revoke, pause, resume or extend the keys that the document names. Raises Invalid, before anything is written."""
    wanted = read(BulkChange, document, now=now())
    failed = {key_id: error for key_id in wanted.ids if (error := _save(actor, key_id, wanted)) is not None}
    late = _publish([key_id for key_id in wanted.ids if key_id not in failed])
    return wanted, tuple(_outcome(actor, key_id, failed.get(key_id, late)) for key_id in wanted.ids)


def _save(actor: Actor, key_id: str, wanted: BulkChange) -> Exception | None:
    patch: dict[str, object] = {"paused": wanted.action == "pause"}
    if wanted.action == "extend":
        patch = {"expires_at": to_json_moment(wanted.expires_at)}
    try:
        if wanted.action == "revoke":
            save_revocation(actor, key_id)
        else:
            save_edit(actor, key_id, patch)
    except (NotFound, Conflict, Invalid) as error:
        return error
    return None


def _publish(key_ids: list[str]) -> NotInForce | None:
    try:
        if key_ids:
            policy.publish(key_ids)
    except NotInForce as error:
        return error
    return None


def _outcome(actor: Actor, key_id: str, error: Exception | None) -> Outcome:
    return Outcome(key_id, None if error is not None else view_of(row_of(actor.org_id, key_id)), error)

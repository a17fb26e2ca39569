"""Create, edit and revoke proxy keys."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import delete
from sqlalchemy.exc import IntegrityError

from shared import keys as secrets
from shared import money
from shared.ids import new_id
from shared.models import IdempotentCreation, KeySecret, ProxyKey, boost_of
from webapp.actions import audit, model_limits, policy
from webapp.actions.hand_over_links import end_links
from webapp.actions.model_sums import Noted, note_sums
from webapp.context import Actor, Conflict, now
from webapp.db import db, writing
from webapp.schemas.keys import EDITABLE, READ_ONLY, Key, KeyPatch, NewKey
from webapp.schemas.values import refuse_secret, to_json_moment
from webapp.validation import FieldError, Invalid, read
from webapp.views.custom_providers import own_providers
from webapp.views.keys import KeyView, row_of, view_of
from webapp.views.organization import rules_of

REMEMBERED = timedelta(hours=24)
_LONGEST_IDEMPOTENCY_KEY = 255


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A key, and its secret at the only moment it can be seen; None when an earlier request made the key."""

    view: KeyView
    secret: str | None

    def __repr__(self) -> str:
        return f"CreatedKey({self.view.prefix}...)"


def create_key(actor: Actor, document: Mapping[str, object], *, idempotency_key: str | None = None) -> CreatedKey:
    """Make a key from its JSON fields, and the organisation's defaults for what they leave out.

    Raises Invalid; Conflict when the idempotency key was used otherwise.
    """
    if idempotency_key is None:
        return _create(actor, document, None)
    if (fault := _fault_of(idempotency_key)) is not None:
        raise Invalid(fault, *_faults_of(actor, document))
    digest = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
    promise = (idempotency_key, digest)
    try:
        return _created_before(actor, promise) or _create(actor, document, promise)
    except IntegrityError:
        # Another request with the same idempotency key committed first.
        if (created := _created_before(actor, promise)) is None:
            raise
        return created


def update_key(
    actor: Actor, key_id: str, document: Mapping[str, object], *, if_version: Collection[int] | None = None
) -> KeyView:
    """Merge a patch into a key; a patch that changes nothing leaves its version.

    Raises NotFound, Invalid, Conflict "key_revoked", and Conflict "version_mismatch" when somebody else changed the
    key since the versions of `if_version`; NotInForce.
    """
    save_edit(actor, key_id, document, if_version=if_version)
    # Also after a patch that changed nothing: it may be the second try of one that could not be told.
    policy.publish([key_id])
    return view_of(row_of(actor.org_id, key_id))


def save_edit(
    actor: Actor, key_id: str, document: Mapping[str, object], *, if_version: Collection[int] | None = None
) -> None:
    """Commit a patch, which holds once it was published: for whoever does that for many keys at once."""
    row = row_of(actor.org_id, key_id)
    # Neither the counters nor the ledger are asked while a lock is held that others wait for.
    served = _served(row, document) if READ_ONLY & document.keys() else {}
    noted = note_sums(db.session, key_id) if model_limits.may_be_new(row, document.get("model_limits")) else None
    try:
        _update(actor, key_id, document, if_version, served, noted)
    except model_limits.PatternIsNew:  # by another edit, a moment ago
        _update(actor, key_id, document, if_version, served, note_sums(db.session, key_id))


def _update(
    actor: Actor,
    key_id: str,
    document: Mapping[str, object],
    if_version: Collection[int] | None,
    served: Mapping[str, object],
    noted: Noted | None,
) -> None:
    """`served`: the key as it was served; `noted`: what the ledger has of it, if a limit for models may be new."""
    with writing() as session:
        generation = model_limits.lock_generation(session) if noted is not None else 0
        row = row_to_change(actor, key_id, if_version)
        kept = {
            "spend_limit_usd": row.spend_limit_nanos,
            "expires_at": row.expires_at,
            "rate_limit_rpm": row.rate_limit_rpm,
            "rate_limit_tpm": row.rate_limit_tpm,
            "spend_limit_boost_usd": row.spend_limit_boost_nanos,
            "spend_limit_boost_until": row.spend_limit_boost_until,
        }
        patch = read(
            KeyPatch,
            document,
            now=now(),
            keep_expiry=row.expires_at,
            served=served,
            rules=rules_of(actor.org_id),
            providers=own_providers(actor.org_id, row),
            kept=kept,
        )
        changes = _changes(row, patch)
        if (limits := changes.pop("model_limits", None)) is not None:
            settled = model_limits.from_now_on(session, row, limits, generation, noted)
            if settled != row.model_limits:
                changes["model_limits"] = settled
        before = _told(row)
        for column, value in changes.items():
            setattr(row, column, value)
        if changes:
            after = _told(row)
            changed = [name for name in EDITABLE if before[name] != after[name]]
            policy.changed(session, row.id)
            audit(
                session,
                actor,
                "key.update",
                row.id,
                before={name: before[name] for name in changed},
                after={name: after[name] for name in changed},
            )


def _served(row: ProxyKey, document: Mapping[str, object]) -> dict[str, Any]:
    """What is told of a key, and of what is told once that which it may have been told with."""
    said = document.get("key")
    opens = isinstance(said, str) and any(
        secrets.digest(said.encode("utf-8", "surrogatepass")) == one.digest for one in row.secrets
    )
    told = Key.model_validate(view_of(row)).model_dump(mode="json")
    return told | {"key": said if opens else None, "secrets": [], "notice": None}


def row_to_change(actor: Actor, key_id: str, if_version: Collection[int] | None) -> ProxyKey:
    """The locked row of a key, within a transaction. Raises as `update_key` does."""
    row = row_of(actor.org_id, key_id, lock=True)
    if row.revoked_at is not None:
        raise Conflict("key_revoked", "This key was revoked; it cannot be changed any more.", view_of(row))
    need_version(row, if_version)
    return row


def need_version(row: ProxyKey, if_version: Collection[int] | None) -> None:
    """Raises Conflict "version_mismatch" when a key has none of the versions that a change was meant for."""
    if if_version is not None and row.version not in if_version:
        message = "Somebody else changed this key in the meantime. Look at its current state and try again."
        raise Conflict("version_mismatch", message, view_of(row))


def revoke_key(actor: Actor, key_id: str, *, if_version: Collection[int] | None = None) -> KeyView:
    """Disable a key for ever; once more is the same. Raises NotFound, NotInForce, and Conflict "version_mismatch"."""
    save_revocation(actor, key_id, if_version)
    policy.publish([key_id])
    return view_of(row_of(actor.org_id, key_id))


def save_revocation(actor: Actor, key_id: str, if_version: Collection[int] | None = None) -> None:
    """Commit a revocation, which holds once it was published, like `save_edit`.

    A key that is revoked already has the state that was asked for, whatever version was seen (RFC 9110, 13.1.1).
    """
    with writing() as session:
        row = row_of(actor.org_id, key_id, lock=True)
        if row.revoked_at is None:
            need_version(row, if_version)
            row.revoked_at = now()
            policy.changed(session, row.id)
            end_links(session, actor, row.id)
            audit(session, actor, "key.revoke", row.id, after={"name": row.name, "prefix": row.prefix})


def _create(actor: Actor, document: Mapping[str, object], promise: tuple[str, str] | None) -> CreatedKey:
    at, rules = now(), rules_of(actor.org_id)
    wanted = read(NewKey, rules.completed(document, at), now=at, rules=rules, providers=own_providers(actor.org_id))
    made = secrets.mint(secrets.PROXY_TAG)
    with writing() as session:
        columns = wanted.columns()
        columns["model_limits"] = model_limits.from_the_first(session, columns["model_limits"] or ())
        row = ProxyKey(id=new_id("key"), org_id=actor.org_id, prefix=made.prefix, **columns)
        row.created_at, row.created_by = at, actor.name
        row.secrets = [KeySecret(digest=made.digest, prefix=made.prefix, created_at=at)]
        session.add(row)
        audit(session, actor, "key.create", row.id, after={"prefix": row.prefix, **_told(row)})
        if promise is not None:
            # One of more than a day ago may stand there still; the ledger writer sweeps them out in its own time.
            old = delete(IdempotentCreation).where(
                IdempotentCreation.org_id == actor.org_id,
                IdempotentCreation.idempotency_key == promise[0],
                IdempotentCreation.created_at < at - REMEMBERED,
            )
            session.execute(old, execution_options={"synchronize_session": False})
            session.add(
                IdempotentCreation(
                    org_id=actor.org_id,
                    idempotency_key=promise[0],
                    request_digest=promise[1],
                    created_id=row.id,
                    created_at=at,
                )
            )
        key_id = row.id
    return CreatedKey(view_of(row_of(actor.org_id, key_id)), made.raw)


def _created_before(actor: Actor, promise: tuple[str, str]) -> CreatedKey | None:
    idempotency_key, digest = promise
    row = db.session.get(IdempotentCreation, (actor.org_id, idempotency_key), populate_existing=True)
    if row is None or row.created_at < now() - REMEMBERED:
        return None
    if row.request_digest != digest:
        raise Conflict("idempotency_key_reused", "This Idempotency-Key was used for another request.")
    return CreatedKey(view_of(row_of(actor.org_id, row.created_id)), None)


def _fault_of(idempotency_key: str) -> FieldError | None:
    """What is wrong with an `Idempotency-Key`, which is kept in clear for a day."""
    name = "Idempotency-Key"
    if not (0 < len(idempotency_key) <= _LONGEST_IDEMPOTENCY_KEY and idempotency_key.isprintable()):
        return FieldError(name, f"must have 1 to {_LONGEST_IDEMPOTENCY_KEY} printable characters")
    try:
        refuse_secret(idempotency_key)
    except ValueError as error:
        return FieldError(name, str(error))
    return None


def _faults_of(actor: Actor, document: Mapping[str, object]) -> tuple[FieldError, ...]:
    """What else is wrong, so that everything is told at once."""
    at, rules = now(), rules_of(actor.org_id)
    try:
        read(NewKey, rules.completed(document, at), now=at, rules=rules, providers=own_providers(actor.org_id))
    except Invalid as error:
        return error.errors
    return ()


def _changes(row: ProxyKey, patch: KeyPatch) -> dict[str, Any]:
    """The columns that a patch makes another. To clear a raise that has ended is to change nothing."""
    told = patch.columns()
    if boost_of(row, now().timestamp()) is None and told.get("spend_limit_boost_nanos", 0) is None:
        del told["spend_limit_boost_nanos"], told["spend_limit_boost_until"]
    return {column: value for column, value in told.items() if getattr(row, column) != value}


def _told(row: ProxyKey) -> dict[str, Any]:
    """The editable fields by their JSON names, as the audit log keeps them."""
    told = {name: getattr(row, name) for name in EDITABLE if not name.endswith("_usd")}
    boost = boost_of(row, now().timestamp())
    told["spend_limit_usd"] = None if row.spend_limit_nanos is None else money.to_usd(row.spend_limit_nanos)
    told["model_limits"] = [
        {
            "model": limit["model"],
            "spend_limit_usd": money.to_usd(limit["spend_limit_nanos"]),
            "spend_reset": limit["spend_reset"],
        }
        for limit in row.model_limits or ()
    ]
    told["spend_limit_boost_usd"] = None if boost is None else money.to_usd(boost.nanos)
    told["spend_limit_boost_until"] = None if boost is None else to_json_moment(row.spend_limit_boost_until)
    told["expires_at"] = to_json_moment(row.expires_at)
    return told

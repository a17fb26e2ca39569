"""A new secret for a key, which stays what it is, with its limits and what it spent; the old secret dies in time."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm.attributes import flag_modified

from shared import keys as secrets
from shared.models import KeySecret
from webapp.actions import audit, policy
from webapp.actions.hand_over_links import end_links
from webapp.actions.keys import row_to_change
from webapp.actions.policy import NotInForce
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.schemas.rotation import Rotation
from webapp.validation import read
from webapp.views.keys import KeyView, SecretView, row_of, secrets_of, view_of

MOST_SECRETS = 10


@dataclass(frozen=True, slots=True)
class RotatedKey:
    """A key, its new secret at the only moment it can be seen, and all that open it now.

    `late` says that the proxies could not be told yet, so that an old secret may open the key for some seconds more. It
    is no exception, because whoever lets that one pass loses the only secret that the key has.
    """

    view: KeyView
    secret: str
    secrets: tuple[SecretView, ...]
    late: str | None

    def __repr__(self) -> str:
        return f"RotatedKey({self.view.prefix}...)"


def rotate_key(
    actor: Actor, key_id: str, document: Mapping[str, object], *, if_version: Collection[int] | None = None
) -> RotatedKey:
    """Give a key a new secret. Those that it has die after `grace_seconds`, or when they were to die before that.

    Raises NotFound, Invalid, Conflict "key_revoked", "version_mismatch", and "too_many_secrets" when a key has been
    rotated so often within the grace of its secrets that nobody can know them all any more.
    """
    wanted = read(Rotation, document)
    made, at = secrets.mint(secrets.PROXY_TAG), now()
    until = at + timedelta(seconds=wanted.grace_seconds)
    with writing() as session:
        row = row_to_change(actor, key_id, if_version)
        session.execute(delete(KeySecret).where(KeySecret.key_id == key_id, KeySecret.valid_until <= at))
        living = session.scalars(select(KeySecret).where(KeySecret.key_id == key_id)).all()
        if until > at and len(living) >= MOST_SECRETS:
            message = (
                f"This key has {len(living)} secrets that still open it. Rotate it with grace_seconds 0 to end them."
            )
            raise Conflict("too_many_secrets", message, view_of(row))
        for secret in living:
            secret.prefix = secret.prefix or row.prefix  # it was the only one while that was not written down
            secret.valid_until = until if secret.valid_until is None else min(until, secret.valid_until)
        session.add(KeySecret(digest=made.digest, prefix=made.prefix, key_id=key_id, created_at=at))
        end_links(session, actor, key_id)  # whoever opens one would get a secret that is about to die
        before, row.prefix = row.prefix, made.prefix
        flag_modified(row, "prefix")  # so that the version rises although two prefixes may be the same four digits
        policy.changed(session, key_id)
        after = {"prefix": made.prefix, "grace_seconds": wanted.grace_seconds}
        audit(session, actor, "key.rotate", key_id, before={"prefix": before}, after=after)
    late = None
    try:
        policy.publish([key_id])
    except NotInForce as error:
        late = str(error)
    view = view_of(row_of(actor.org_id, key_id))
    return RotatedKey(view, made.raw, secrets_of(view, now()), late)


def end_old_secrets(actor: Actor, key_id: str, *, if_version: Collection[int] | None = None) -> KeyView:
    """Let the secrets that were rotated out die now, before their time; the newest stays.

    Raises as `rotate_key`, and NotInForce.
    """
    at = now()
    with writing() as session:
        row = row_to_change(actor, key_id, if_version)
        old = select(KeySecret).where(KeySecret.key_id == key_id, KeySecret.valid_until > at)
        dying = session.scalars(old.order_by(KeySecret.created_at)).all()
        for secret in dying:
            secret.valid_until = at
        if dying:
            flag_modified(row, "prefix")  # so that the version rises although nothing else of the key changes
            policy.changed(session, key_id)
            audit(session, actor, "key.end_old_secrets", key_id, before={"prefixes": [one.prefix for one in dying]})
    policy.publish([key_id])
    return view_of(row_of(actor.org_id, key_id))

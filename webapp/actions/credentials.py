"""Store the providers' own keys, sealed."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from flask import current_app
from sqlalchemy import select

from shared.ids import new_id
from shared.models import ProviderCredential
from shared.sealing import Sealer, UnsealError
from webapp.actions import audit, policy
from webapp.actions.hand_overs import reseal_hand_overs
from webapp.actions.webhooks import reseal_webhooks
from webapp.context import Actor, now
from webapp.db import db, first_or_next, writing


def store_credentials(actor: Actor, credentials: Mapping[str, str]) -> tuple[str, ...]:
    """Make these the organisation's credentials, by provider; answers with the providers whose one is new."""
    changed = first_or_next(lambda: _store(actor, credentials))
    # Also when nothing changed: it may be the second try of a change that could not be told.
    policy.publish([actor.org_id])
    return changed


def _store(actor: Actor, credentials: Mapping[str, str]) -> tuple[str, ...]:
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    changed = []
    with writing() as session:
        for slug, secret in sorted(credentials.items()):
            query = select(ProviderCredential).where(
                ProviderCredential.org_id == actor.org_id, ProviderCredential.provider == slug
            )
            row = session.scalar(query.with_for_update())
            if row is not None and _opens_to(sealer, row.sealed, secret):
                continue
            before = None if row is None else {"provider": slug, "last4": row.last4}
            if row is None:
                row = ProviderCredential(id=new_id("cred"), org_id=actor.org_id, provider=slug)
                session.add(row)
            row.sealed, row.last4 = sealer.seal(secret), secret[-4:]
            row.created_at, row.created_by = now(), actor.name
            audit(session, actor, "credential.set", row.id, before=before, after={"provider": slug, "last4": row.last4})
            changed.append(slug)
        if changed:
            policy.shared_changed(session, actor.org_id)
    return tuple(changed)


def forget_credentials(actor: Actor, providers: Collection[str]) -> None:
    """Delete the organisation's credentials of these providers; requests for them are refused from now on."""
    query = select(ProviderCredential).where(
        ProviderCredential.org_id == actor.org_id, ProviderCredential.provider.in_(providers)
    )
    with writing() as session:
        rows = session.scalars(query).all()
        for row in rows:
            audit(session, actor, "credential.delete", row.id, before={"provider": row.provider, "last4": row.last4})
            session.delete(row)
        if rows:
            policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


@dataclass(frozen=True, slots=True)
class Resealed:
    """What became of stored credentials: sealed anew with the first key, or closed to all keys."""

    resealed: int
    lost: int


def reseal_credentials() -> Resealed:
    """Seal what older keys sealed with the first one, in all organisations, so that the older ones can be dropped.

    Secrets of webhooks and behind links are among them. They stay what they are, so proxies have nothing to learn.
    """
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    resealed = lost = 0
    with writing() as session:
        for row in session.scalars(select(ProviderCredential).order_by(ProviderCredential.id).with_for_update()):
            if sealer.is_current(row.sealed):
                continue
            try:
                row.sealed = sealer.seal(sealer.unseal(row.sealed))
            except UnsealError:
                lost += 1
                continue
            resealed += 1
            told = {"provider": row.provider, "last4": row.last4}
            audit(session, Actor(row.org_id, "system", None), "credential.reseal", row.id, after=told)
        of_others = (reseal_webhooks(session, sealer), reseal_hand_overs(session, sealer))
    return Resealed(resealed + sum(one[0] for one in of_others), lost + sum(one[1] for one in of_others))


def stored_providers(org_id: str, *, pretend_prefix: str) -> dict[str, bool]:
    """Providers with a credential; True for a real one, False for one that starts with `pretend_prefix`."""
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    found = {}
    for row in db.session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == org_id)):
        try:
            found[row.provider] = not sealer.unseal(row.sealed).startswith(pretend_prefix)
        except UnsealError:
            found[row.provider] = True
    return found


def _opens_to(sealer: Sealer, sealed: bytes, secret: str) -> bool:
    try:
        return sealer.unseal(sealed) == secret
    except UnsealError:
        return False

"""Store the providers' own keys, sealed: the one that the environment sets, and others beside it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import scoped_session

from shared.catalog import PROVIDERS
from shared.ids import new_id
from shared.models import DEFAULT_LABEL, ProviderCredential
from shared.provider_credential import of_another
from shared.sealing import Sealer, UnsealError
from webapp.actions import audit, policy
from webapp.actions.hand_overs import reseal_hand_overs
from webapp.actions.webhooks import reseal_webhooks
from webapp.context import Actor, Conflict, NotFound, now
from webapp.db import db, first_or_next, writing
from webapp.schemas.providers import AddedCredential, CredentialPatch
from webapp.validation import FieldError, Invalid, read
from webapp.views.custom_providers import custom_row

MOST_CREDENTIALS = 50  # of one provider
_OPTIONS = ("label", "weight", "priority", "enabled")


def store_credentials(actor: Actor, credentials: Mapping[str, str], *, switch_on: bool = True) -> tuple[str, ...]:
    """Make these the default credentials, by provider; answers with the providers whose one is new, or used anew.

    One that was switched off is used from now on, because who stores a credential wants it to be; `switch_on` is False
    for what stores the same at each start, and knows nothing of why it was switched off. Raises NotFound, and Invalid
    for a key of another provider.
    """
    for slug, secret in credentials.items():
        _refuse_another(slug, secret)
    changed = first_or_next(lambda: _store(actor, credentials, switch_on=switch_on))
    # Also when nothing changed: it may be the second try of a change that could not be told.
    policy.publish([actor.org_id])
    return changed


def _store(actor: Actor, credentials: Mapping[str, str], *, switch_on: bool) -> tuple[str, ...]:
    with writing() as session:
        changed = tuple(
            slug
            for slug, secret in sorted(credentials.items())
            if store_within(session, actor, slug, secret, switch_on=switch_on)
        )
        if changed:
            policy.shared_changed(session, actor.org_id)
    return changed


def store_within(
    session: scoped_session[Session], actor: Actor, slug: str, secret: str, *, switch_on: bool = True
) -> bool:
    """Make this the default credential, in a transaction that does more; whether it is new, or used anew.

    Raises NotFound for a provider of the organisation's own that is not there any more.
    """
    _lock_own(actor, slug)
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    query = select(ProviderCredential).where(
        ProviderCredential.org_id == actor.org_id,
        ProviderCredential.provider == slug,
        ProviderCredential.label == DEFAULT_LABEL,
    )
    row = session.scalar(query.with_for_update())
    before = None if row is None else _told(row)
    same = row is not None and _opens_to(sealer, row.sealed, secret)
    wakes = switch_on and row is not None and not row.enabled
    if row is None:
        row = _new_row(actor, slug)
        session.add(row)
    if not same:
        _seal(sealer, row, secret, actor)
        audit(session, actor, "credential.set", row.id, before=before, after=_told(row))
    if wakes:
        told, options = {"provider": slug}, _options(row)
        row.enabled = True
        after = told | _options(row)
        audit(session, actor, "credential.update", row.id, before=told | options, after=after)
    return wakes or not same


def _refuse_another(slug: str, secret: str | None) -> None:
    """Of a built-in provider at its own address: a gateway in its place may have keys of any kind."""
    at_home = current_app.extensions["settings"].is_at_home(slug)
    if secret is not None and at_home and (wrong := of_another(slug, secret)) is not None:
        raise Invalid(FieldError("credential", wrong))


def _lock_own(actor: Actor, slug: str) -> None:
    """Nobody removes or moves a provider of the organisation's own while a credential is stored for it."""
    if slug not in PROVIDERS:
        custom_row(actor.org_id, slug, lock=True)


def add_credential(actor: Actor, slug: str, document: Mapping[str, object]) -> str:
    """Store another credential of a provider, by its id. Raises NotFound, Invalid, Conflict."""
    wanted = read(AddedCredential, document)
    _refuse_another(slug, wanted.credential)
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    try:
        with writing() as session:
            _lock_own(actor, slug)
            of_it = (ProviderCredential.org_id == actor.org_id, ProviderCredential.provider == slug)
            count = session.scalar(select(func.count()).select_from(ProviderCredential).where(*of_it)) or 0
            if count >= MOST_CREDENTIALS:
                raise Conflict("too_many_credentials", f"A provider has at most {MOST_CREDENTIALS} credentials.")
            row = _new_row(actor, slug)
            row.label, row.weight, row.priority = wanted.label, wanted.weight, wanted.priority
            row.enabled = wanted.enabled
            _seal(sealer, row, wanted.credential, actor)
            session.add(row)
            audit(session, actor, "credential.create", row.id, after=_told(row) | _options(row))
            policy.shared_changed(session, actor.org_id)
            credential_id = row.id
    except IntegrityError:
        raise Invalid(_label_taken(wanted.label)) from None
    policy.publish([actor.org_id])
    return credential_id


def change_credential(
    actor: Actor,
    slug: str,
    credential_id: str,
    document: Mapping[str, object],
    *,
    served: Mapping[str, Any] | None = None,
) -> None:
    """Replace a credential, or change how it is used. What is not named stays; `served` is what is told of it.

    Raises NotFound, Invalid.
    """
    wanted = read(CredentialPatch, document, served=served)
    _refuse_another(slug, wanted.credential)
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    try:
        with writing() as session:
            row = _row(actor, slug, credential_id)
            if "label" in wanted.model_fields_set and wanted.label != row.label == DEFAULT_LABEL:
                words = f"cannot be changed: the environment sets the one that is called {DEFAULT_LABEL}"
                raise Invalid(FieldError("label", words))
            before, told_before = _options(row), _told(row)
            for name in wanted.model_fields_set - {"credential"}:
                setattr(row, name, getattr(wanted, name))
            secret = wanted.credential
            replaced = secret is not None and not _opens_to(sealer, row.sealed, secret)
            if secret is not None and replaced:
                _seal(sealer, row, secret, actor)
                audit(session, actor, "credential.set", row.id, before=told_before, after=_told(row))
            after = _options(row)
            if after != before:
                told = {"provider": slug}
                audit(session, actor, "credential.update", row.id, before=told | before, after=told | after)
            if replaced or after != before:
                policy.shared_changed(session, actor.org_id)
            session.flush()
    except IntegrityError:
        raise Invalid(_label_taken(wanted.label)) from None
    policy.publish([actor.org_id])


def remove_credential(actor: Actor, slug: str, credential_id: str) -> None:
    """Delete one credential. Raises NotFound."""
    with writing() as session:
        row = _row(actor, slug, credential_id)
        audit(session, actor, "credential.delete", row.id, before=_told(row))
        session.delete(row)
        policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


def _row(actor: Actor, slug: str, credential_id: str) -> ProviderCredential:
    query = select(ProviderCredential).where(
        ProviderCredential.id == credential_id,
        ProviderCredential.org_id == actor.org_id,
        ProviderCredential.provider == slug,
    )
    row = db.session.scalar(query.with_for_update())
    if row is None:
        raise NotFound
    return row


def _new_row(actor: Actor, slug: str) -> ProviderCredential:
    return ProviderCredential(id=new_id("cred"), org_id=actor.org_id, provider=slug, label=DEFAULT_LABEL)


def _seal(sealer: Sealer, row: ProviderCredential, secret: str, actor: Actor) -> None:
    row.sealed, row.last4 = sealer.seal(secret), secret[-4:]
    row.created_at, row.created_by = now(), actor.name


def _told(row: ProviderCredential) -> dict[str, Any]:
    """By what people recognise it, in the audit log."""
    told = {"provider": row.provider, "last4": row.last4}
    return told if row.label == DEFAULT_LABEL else told | {"label": row.label}


def _options(row: ProviderCredential) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _OPTIONS}


def _label_taken(label: str) -> FieldError:
    return FieldError("label", f"is taken: another credential of this provider is called {label!r}")


def remove_default(actor: Actor, slug: str) -> None:
    """Delete the default credential of a provider, if it has one; the others go on being used."""
    _forget(actor, lambda row: row.provider == slug and row.label == DEFAULT_LABEL)


def forget_credentials(actor: Actor, providers: Collection[str]) -> None:
    """Delete the organisation's credentials of these providers; requests for them are refused from now on."""
    _forget(actor, lambda row: row.provider in providers)


def _forget(actor: Actor, which: Callable[[ProviderCredential], bool]) -> None:
    with writing() as session:
        if forget_within(session, actor, which):
            policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


def forget_within(session: scoped_session[Session], actor: Actor, which: Callable[[ProviderCredential], bool]) -> bool:
    """Delete such credentials of the organisation in a transaction that does more; whether there were any."""
    rows = session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == actor.org_id)).all()
    forgotten = [row for row in rows if which(row)]
    for row in forgotten:
        audit(session, actor, "credential.delete", row.id, before=_told(row))
        session.delete(row)
    return bool(forgotten)


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
            audit(session, Actor(row.org_id, "system", None), "credential.reseal", row.id, after=_told(row))
        of_others = (reseal_webhooks(session, sealer), reseal_hand_overs(session, sealer))
    return Resealed(resealed + sum(one[0] for one in of_others), lost + sum(one[1] for one in of_others))


def stored_providers(org_id: str, *, pretend_prefix: str) -> dict[str, bool]:
    """Providers with a credential; True with a real one, False with none but such as start with `pretend_prefix`."""
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    found: dict[str, bool] = {}
    for row in db.session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == org_id)):
        found[row.provider] = found.get(row.provider, False) or not _pretends(sealer, row, pretend_prefix)
    return found


def forget_pretended(actor: Actor, *, pretend_prefix: str) -> None:
    """Delete the organisation's credentials that start so, of all providers."""
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    _forget(actor, lambda row: _pretends(sealer, row, pretend_prefix))


def _pretends(sealer: Sealer, row: ProviderCredential, prefix: str) -> bool:
    try:
        return sealer.unseal(row.sealed).startswith(prefix)
    except UnsealError:
        return False


def _opens_to(sealer: Sealer, sealed: bytes, secret: str) -> bool:
    try:
        return sealer.unseal(sealed) == secret
    except UnsealError:
        return False

"""Add, edit and remove providers of an organisation's own."""

from collections.abc import Mapping
from typing import Any

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import exists, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import scoped_session

from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.custom_providers import place_of
from shared.ids import new_id
from shared.models import CustomProvider, PriceOverride, ProviderCredential
from shared.policy.values import Network
from webapp.actions import audit, policy
from webapp.actions.credentials import forget_within, store_within
from webapp.context import Actor, Conflict, now
from webapp.db import writing
from webapp.schemas.providers import NewProvider, ProviderPatch
from webapp.validation import FieldError, Invalid, read
from webapp.views.custom_providers import custom_row

MOST_PROVIDERS = 50  # of one organisation
MOST_NAMES = 1_000  # with those that were removed, which are loaded with its keys as well
_FIELDS = ("base_url", "auth", "api_version", "models", "stream_options", "enabled")


def add_provider(actor: Actor, document: Mapping[str, object]) -> str:
    """Add a provider, and a credential of it if one is given; answers with its name. Raises Invalid, Conflict."""
    wanted = read(NewProvider, document, networks=_networks())
    try:
        with writing() as session:
            _refuse_name(session, actor.org_id, wanted.provider)
            row = CustomProvider(id=new_id("prov"), org_id=actor.org_id, name=wanted.provider)
            for name in _FIELDS:
                setattr(row, name, getattr(wanted, name))
            row.created_at, row.created_by = now(), actor.name
            session.add(row)
            audit(session, actor, "provider.create", row.id, after=_told(row))
            if wanted.credential is not None:
                store_within(session, actor, wanted.provider, wanted.credential)
            policy.shared_changed(session, actor.org_id)
    except IntegrityError:
        raise Invalid(FieldError("provider", "is taken: there is a provider of this name already")) from None
    policy.publish([actor.org_id])
    return wanted.provider


def change_provider(
    actor: Actor, name: str, document: Mapping[str, object], *, served: Mapping[str, Any] | None = None
) -> None:
    """Change what is named; all else stays. A credential becomes the default one, and of another server the only one.

    `served` is what is told of it. Raises NotFound, Invalid, Conflict for a built-in one.
    """
    _refuse_built_in(name)
    wanted = read(ProviderPatch, document, served=served, networks=_networks())
    with writing() as session:
        row = custom_row(actor.org_id, name, lock=True)
        before = _told(row)
        if wanted.base_url and place_of(wanted.base_url) != place_of(row.base_url):
            _forget_credentials(session, actor, name, given=wanted.credential is not None)
        stored = wanted.credential is not None and store_within(session, actor, name, wanted.credential)
        for field, value in wanted.columns().items():
            if field in _FIELDS:
                setattr(row, field, value)
        after = _told(row)
        changed = [field for field in _FIELDS if before[field] != after[field]]
        if changed:
            place = {"provider": name}
            told = [place | {field: state[field] for field in changed} for state in (before, after)]
            audit(session, actor, "provider.update", row.id, before=told[0], after=told[1])
        if changed or stored:
            policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


def remove_provider(actor: Actor, name: str) -> None:
    """Forget the credentials and prices of a provider; by its row, which stays, requests for it are refused.

    Raises NotFound, Conflict for a built-in one.
    """
    _refuse_built_in(name)
    with writing() as session:
        row = custom_row(actor.org_id, name, lock=True)
        audit(session, actor, "provider.delete", row.id, before=_told(row))
        forget_within(session, actor, lambda one: one.provider == name)
        prices = select(PriceOverride).where(PriceOverride.org_id == actor.org_id, PriceOverride.provider == name)
        for price in session.scalars(prices).all():
            before = {"provider": name, "model": price.model, "rates": price.rates}
            audit(session, actor, "price.delete", price.id, before=before)
            session.delete(price)
        row.removed_at = now()
        policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


def _forget_credentials(session: scoped_session[Session], actor: Actor, name: str, *, given: bool) -> None:
    """Whoever may edit a provider shall not have what is stored for it sent to a server of his choice."""
    of_it = (ProviderCredential.org_id == actor.org_id, ProviderCredential.provider == name)
    if not given and session.scalar(select(exists().where(*of_it))):
        message = (
            "is required: what is stored was given for another server. Give it anew, or remove what is stored first"
        )
        raise Invalid(FieldError("credential", message))
    forget_within(session, actor, lambda one: one.provider == name)


def _refuse_built_in(name: str) -> None:
    if name in PROVIDERS:
        message = f"{PROVIDERS[name].label} is built in: its address is told by a setting, and it is always there."
        raise Conflict("provider_built_in", message)


def _networks() -> tuple[Network, ...]:
    settings: Settings = current_app.extensions["settings"]
    return settings.provider_networks


def _refuse_name(session: scoped_session[Session], org_id: str, name: str) -> None:
    """Raises Invalid for a name that was given once, Conflict where there are enough."""
    query = select(CustomProvider.name, CustomProvider.removed_at).where(CustomProvider.org_id == org_id)
    known = {one.name: one.removed_at for one in session.execute(query)}
    if known.get(name) is not None:
        message = "was the name of a provider that was removed, and apps may still ask for it: choose another one"
        raise Invalid(FieldError("provider", message))
    if name in known:
        raise Invalid(FieldError("provider", "is taken: there is a provider of this name already"))
    if sum(at is None for at in known.values()) >= MOST_PROVIDERS:
        raise Conflict("too_many_providers", f"An organisation has at most {MOST_PROVIDERS} of its own.")
    if len(known) >= MOST_NAMES:
        raise Conflict("too_many_providers", f"An organisation has had at most {MOST_NAMES} of its own.")


def _told(row: CustomProvider) -> dict[str, Any]:
    return {"provider": row.name, **{field: getattr(row, field) for field in _FIELDS}}

"""The providers, and which of them an organisation has a credential for."""

from collections.abc import Mapping

from flask import current_app
from sqlalchemy import and_, select

from shared.catalog import PROVIDERS
from shared.config import URL_SETTINGS, Settings
from shared.models import CredentialRefusal, ProviderCredential
from shared.sealing import Sealer, UnsealError
from webapp.context import NotFound
from webapp.db import db
from webapp.views.custom_providers import custom_providers
from webapp.views.providers import SANDBOX_FILE, SANDBOX_PREFIX, CredentialView, ProviderView, RefusedView


def list_providers(org_id: str) -> tuple[ProviderView, ...]:
    """All providers: the built-in ones in the order of the catalogue, then those of its own by name."""
    settings: Settings = current_app.extensions["settings"]
    sealer = Sealer(settings.encryption_keys)
    # What was said to a secret that was replaced since is no news of the present one.
    of_it = and_(
        CredentialRefusal.credential_id == ProviderCredential.id,
        CredentialRefusal.set_at == ProviderCredential.created_at,
    )
    query = select(ProviderCredential, CredentialRefusal).outerjoin(CredentialRefusal, of_it)
    in_order = (ProviderCredential.priority, ProviderCredential.id)
    known: dict[str, list[CredentialView]] = {}
    for row, refusal in db.session.execute(query.where(ProviderCredential.org_id == org_id).order_by(*in_order)):
        known.setdefault(row.provider, []).append(_credential(row, refusal, sealer))
    own = [
        ProviderView(
            provider=one.provider,
            label=one.provider,
            base_url=one.base_url,
            base_url_setting=None,
            usual_url=one.base_url,
            at_sandbox=False,
            credentials=tuple(known.get(one.provider, ())),
            custom=one,
        )
        for one in custom_providers(org_id)
    ]
    return (*_built_in(settings, known), *own)


def _built_in(settings: Settings, known: Mapping[str, list[CredentialView]]) -> tuple[ProviderView, ...]:
    sandboxed = _at_sandbox(settings)
    return tuple(
        ProviderView(
            provider=slug,
            label=provider.label,
            base_url=settings.provider_urls.get(slug, provider.base_url),
            base_url_setting=URL_SETTINGS[slug],
            usual_url=provider.base_url,
            at_sandbox=slug in sandboxed,
            credentials=tuple(known.get(slug, ())),
        )
        for slug, provider in PROVIDERS.items()
    )


def _at_sandbox(settings: Settings) -> frozenset[str]:
    """The providers whose requests the launcher sends to the sandbox."""
    try:
        return frozenset((settings.data_dir / SANDBOX_FILE).read_text(encoding="utf-8").split())
    except FileNotFoundError:
        return frozenset()


def get_provider(org_id: str, slug: str) -> ProviderView:
    """One provider. Raises NotFound."""
    for view in list_providers(org_id):
        if view.provider == slug:
            return view
    raise NotFound


def get_credential(org_id: str, slug: str, credential_id: str) -> tuple[ProviderView, CredentialView]:
    """One credential, and its provider. Raises NotFound."""
    view = get_provider(org_id, slug)
    for one in view.credentials:
        if one.id == credential_id:
            return view, one
    raise NotFound


def _credential(row: ProviderCredential, refusal: CredentialRefusal | None, sealer: Sealer) -> CredentialView:
    source, readable = "system" if row.created_by == "system" else "staff", True
    try:
        if sealer.unseal(row.sealed).startswith(SANDBOX_PREFIX):
            source = "sandbox"
    except UnsealError:
        readable = False
    return CredentialView(
        id=row.id,
        label=row.label,
        weight=row.weight,
        priority=row.priority,
        enabled=row.enabled,
        last4=row.last4,
        created_at=row.created_at,
        created_by=row.created_by,
        source=source,
        readable=readable,
        refused=None if refusal is None else RefusedView(refusal.at, refusal.status, refusal.words),
    )

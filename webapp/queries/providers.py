"""The providers, and which of them an organisation has a credential for."""

from flask import current_app
from sqlalchemy import select

from shared.catalog import PROVIDERS
from shared.config import URL_SETTINGS, Settings
from shared.models import ProviderCredential
from shared.sealing import Sealer, UnsealError
from webapp.context import NotFound
from webapp.db import db
from webapp.views.providers import SANDBOX_PREFIX, CredentialView, ProviderView


def list_providers(org_id: str) -> tuple[ProviderView, ...]:
    """All providers, in the order of the catalogue."""
    settings: Settings = current_app.extensions["settings"]
    sealer = Sealer(settings.encryption_keys)
    rows = db.session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == org_id))
    known = {row.provider: _credential(row, sealer) for row in rows}
    return tuple(
        ProviderView(
            provider=slug,
            label=provider.label,
            base_url=settings.provider_urls.get(slug, provider.base_url),
            base_url_setting=URL_SETTINGS[slug],
            usual_url=provider.base_url,
            credential=known.get(slug),
        )
        for slug, provider in PROVIDERS.items()
    )


def get_provider(org_id: str, slug: str) -> ProviderView:
    """One provider. Raises NotFound."""
    for view in list_providers(org_id):
        if view.provider == slug:
            return view
    raise NotFound


def _credential(row: ProviderCredential, sealer: Sealer) -> CredentialView:
    source = "system" if row.created_by == "system" else "staff"
    try:
        if sealer.unseal(row.sealed).startswith(SANDBOX_PREFIX):
            source = "sandbox"
    except UnsealError:
        return CredentialView(row.last4, row.created_at, row.created_by, source, readable=False)
    return CredentialView(row.last4, row.created_at, row.created_by, source, readable=True)

"""The providers, and which of them an organisation has a credential for."""

from flask import current_app
from sqlalchemy import select

from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.models import ProviderCredential
from webapp.context import NotFound
from webapp.db import db
from webapp.views.providers import CredentialView, ProviderView


def list_providers(org_id: str) -> tuple[ProviderView, ...]:
    """All providers, in the order of the catalogue."""
    settings: Settings = current_app.extensions["settings"]
    rows = db.session.scalars(select(ProviderCredential).where(ProviderCredential.org_id == org_id))
    known = {row.provider: CredentialView(row.last4, row.created_at, row.created_by) for row in rows}
    return tuple(
        ProviderView(slug, provider.label, settings.provider_urls.get(slug, provider.base_url), known.get(slug))
        for slug, provider in PROVIDERS.items()
    )


def get_provider(org_id: str, slug: str) -> ProviderView:
    """One provider. Raises NotFound."""
    for view in list_providers(org_id):
        if view.provider == slug:
            return view
    raise NotFound

"""Which providers of an organisation a request can be sent to."""

from flask import current_app
from sqlalchemy import select

from shared.catalog import PROVIDERS
from shared.models import ProviderCredential
from shared.sealing import Sealer
from webapp.db import db
from webapp.views.custom_providers import custom_providers


def usable_providers(org_id: str) -> frozenset[str]:
    """Those with a credential that is switched on and can be opened; of its own also those that need none."""
    query = select(ProviderCredential.provider, ProviderCredential.sealed).where(
        ProviderCredential.org_id == org_id, ProviderCredential.enabled
    )
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    opened = {slug for slug, sealed in db.session.execute(query) if sealer.opens(sealed)}
    own = custom_providers(org_id)
    usable = {one.provider for one in own if one.enabled and (not one.needs_credential or one.provider in opened)}
    return frozenset(usable | (opened & PROVIDERS.keys()))

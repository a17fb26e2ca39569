"""A provider's own key, opened, for whoever has to send it: never for a page, a log or an answer."""

from flask import current_app
from sqlalchemy import select

from shared.models import ProviderCredential
from shared.sealing import Sealer
from webapp.db import db


def credential_of(org_id: str, provider: str) -> str | None:
    """The organisation's credential of a provider; None without one.

    Raises UnsealError when no key of ROUTER_ENCRYPTION_KEY opens it.
    """
    query = select(ProviderCredential.sealed).where(
        ProviderCredential.org_id == org_id, ProviderCredential.provider == provider
    )
    sealed = db.session.scalar(query)
    if sealed is None:
        return None
    return Sealer(current_app.extensions["settings"].encryption_keys).unseal(sealed)

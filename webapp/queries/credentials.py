"""A provider's own key, opened, for whoever has to send it: never for a page, a log or an answer."""

from flask import current_app
from sqlalchemy import select

from shared.models import ProviderCredential
from shared.sealing import Sealer
from webapp.db import db


def credential_of(org_id: str, provider: str, credential_id: str | None = None) -> str | None:
    """A credential of the organisation: this one, or the one that is tried first; None without one.

    Raises UnsealError when no key of ROUTER_ENCRYPTION_KEY opens it.
    """
    query = select(ProviderCredential.sealed).where(
        ProviderCredential.org_id == org_id, ProviderCredential.provider == provider
    )
    if credential_id is not None:
        query = query.where(ProviderCredential.id == credential_id)
    # One that is switched off can be asked for by its id alone, or where there is no other.
    first = (ProviderCredential.enabled.desc(), ProviderCredential.priority, ProviderCredential.id)
    sealed = db.session.scalar(query.order_by(*first).limit(1))
    if sealed is None:
        return None
    return Sealer(current_app.extensions["settings"].encryption_keys).unseal(sealed)

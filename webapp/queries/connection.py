"""Whether a provider takes the organisation's credential, as the provider itself says."""

from shared.catalog import PROVIDERS
from shared.sealing import UnsealError
from webapp.db import db
from webapp.offload import OFFLOAD, TookTooLong
from webapp.provider_test import TIMEOUT_SECONDS, Outcome, try_connection
from webapp.queries.credentials import credential_of
from webapp.queries.providers import get_provider
from webapp.views.providers import ConnectionView


def check_connection(org_id: str, slug: str) -> ConnectionView:
    """Ask the provider. Raises NotFound, and `offload.TooBusy` when too many ask at the same time."""
    view = get_provider(org_id, slug)
    try:
        secret = credential_of(org_id, slug)
    except UnsealError:
        words = "The stored credential cannot be opened: ROUTER_ENCRYPTION_KEY was changed. Replace the credential."
        return ConnectionView(slug, False, None, words, None)
    finally:
        db.session.rollback()  # a provider may take its time, and others need the connection
    if secret is None:
        return ConnectionView(slug, False, None, f"There is no credential for {view.label} yet.", None)
    try:
        outcome: Outcome = OFFLOAD.calls(try_connection, PROVIDERS[slug], view.base_url, secret)
    except TookTooLong:
        words = f"{view.label} does not answer at {view.base_url} within {TIMEOUT_SECONDS:g} seconds."
        outcome = Outcome(ok=False, message=words)
    latency_ms = None if outcome.status is None else int(outcome.seconds * 1000)
    return ConnectionView(slug, outcome.ok, outcome.status, outcome.message, latency_ms)

"""Whether a provider takes the organisation's credential, as the provider itself says."""

from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import current_app

from shared.catalog import PROVIDERS
from shared.config import Settings
from shared.custom_providers import path_of_models, provider_named
from shared.sealing import UnsealError
from webapp.db import db
from webapp.offload import OFFLOAD, TookTooLong
from webapp.provider_test import TIMEOUT_SECONDS, Chosen, Outcome, try_connection
from webapp.queries.credentials import credential_of
from webapp.queries.providers import get_credential, get_provider
from webapp.views.providers import SANDBOX_PREFIX, ConnectionView, ProviderView, lost_words


def check_connection(org_id: str, slug: str, credential_id: str | None = None) -> ConnectionView:
    """Ask the provider, with the credential that is tried first or with this one.

    Raises NotFound, and `offload.TooBusy` when too many ask at the same time.
    """
    if credential_id is not None:
        get_credential(org_id, slug, credential_id)
    outcome = outcome_of(org_id, get_provider(org_id, slug), credential_id)
    latency_ms = None if outcome.status is None else int(outcome.seconds * 1000)
    return ConnectionView(slug, outcome.ok, outcome.status, outcome.message, latency_ms)


def outcomes_of(org_id: str, views: Sequence[ProviderView]) -> dict[str, Outcome]:
    """What is said to each credential with which requests are sent; of several their labels stand in the name."""
    return {
        view.provider if len(view.enabled) == 1 else f"{view.provider} {one.label}": outcome_of(org_id, view, one.id)
        for view in views
        for one in view.enabled
        if view.serves and (view.custom is None or view.custom.needs_credential)
    } | {
        view.provider: outcome_of(org_id, view)
        for view in views
        if view.serves and view.custom is not None and not view.custom.needs_credential
    }


def outcome_of(org_id: str, view: ProviderView, credential_id: str | None = None) -> Outcome:
    """Whether a provider takes a credential that is stored for it. Raises `offload.TooBusy`."""
    try:
        secret = credential_of(org_id, view.provider, credential_id)
    except UnsealError:
        return Outcome(ok=False, message=lost_words(1))
    finally:
        db.session.rollback()  # a provider may take its time, and others need the connection
    if view.custom is not None and not view.custom.needs_credential:
        secret = ""
    if secret is None:
        return Outcome(ok=False, message=f"There is no credential for {view.label} yet.")
    if view.custom is None and secret.startswith(SANDBOX_PREFIX):
        # Only the launcher knows where the sandbox listens, and its credential goes to nobody else.
        return Outcome(ok=True, message=f"The sandbox of `make run` answers for {view.label}; it was not asked.")
    try:
        custom = view.custom
        provider = PROVIDERS[view.provider] if custom is None else provider_named(custom.provider, custom.auth)
        outcome: Outcome = OFFLOAD.calls(try_connection, provider, view.base_url, secret, _chosen(view))
    except TookTooLong:
        words = f"{view.label} does not answer at {view.base_url} within {TIMEOUT_SECONDS:g} seconds."
        return Outcome(ok=False, message=words)
    return outcome


def _chosen(view: ProviderView) -> Chosen | None:
    """What is asked for of one of the organisation's own: its list of models, where that is."""
    if view.custom is None:
        return None
    settings: Settings = current_app.extensions["settings"]
    address = urlsplit(view.base_url)
    version = "" if view.custom.api_version is None else f"?api-version={view.custom.api_version}"
    question = f"{address.scheme}://{address.netloc}{path_of_models(address.path)}{version}"
    return Chosen(question, settings.provider_networks)

"""Providers: whose credential the router has, whether it works, where requests go. Administrators change it."""

from datetime import datetime

from flask import Blueprint, redirect
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import PasswordField

from shared.config import CREDENTIAL_SETTINGS
from shared.models import DEFAULT_LABEL
from shared.pricing import table
from webapp.actions.credentials import remove_default, store_credentials
from webapp.context import NotFound, now
from webapp.pages.actor_words import actor_words
from webapp.queries.connection import check_connection
from webapp.queries.providers import get_provider, list_providers
from webapp.render import page, relative, sentence, tell
from webapp.schemas.providers import NewCredential
from webapp.security import current_actor, may, require
from webapp.validation import Invalid, read
from webapp.views.providers import ConnectionView, CredentialView, ProviderView, waiting

bp = Blueprint("providers", __name__, url_prefix="/providers")


class CredentialForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A provider's own key. What was typed is never sent back."""

    credential = PasswordField("Credential", id="credential")


@bp.get("")
@require("viewer")
def index() -> Response:
    return show()


@bp.post("/<slug>/test")
@require("admin")
def check(slug: str) -> Response:
    """Ask the provider; for htmx the answer alone."""
    return show(check_connection(current_actor().org_id, slug))


@bp.get("/<slug>/credential")
@require("admin")
def ask_credential(slug: str) -> Response:
    return _form(get_provider(current_actor().org_id, slug), CredentialForm(formdata=None))


@bp.post("/<slug>/credential")
@require("admin")
def set_credential(slug: str) -> Response:
    """Store it, sealed; it holds for the next request, or after a restart where the sandbox answers now."""
    actor, form = current_actor(), CredentialForm()
    provider = get_provider(actor.org_id, slug)
    try:
        secret = read(NewCredential, {"credential": form.credential.data or ""}).credential
        changed = store_credentials(actor, {slug: secret})
    except Invalid as error:
        form.credential.errors = [sentence(wrong.message) for wrong in error.errors]
        return _form(provider, form, status=422)
    became = "stored" if changed else "the one that was stored already"
    tell(f"The credential of {provider.label} is {became}. {then_test(provider, 'the connection')}")
    return redirect(f"/providers#provider_{slug}", code=303)


@bp.get("/<slug>/credential/remove")
@require("admin")
def ask_removal(slug: str) -> Response:
    provider = get_provider(current_actor().org_id, slug)
    if provider.default is None:
        raise NotFound
    return _form(provider, CredentialForm(formdata=None), step="remove")


@bp.post("/<slug>/credential/remove")
@require("admin")
def remove_credential(slug: str) -> Response:
    provider = get_provider(current_actor().org_id, slug)
    remove_default(current_actor(), slug)
    others = any(one != provider.default for one in provider.enabled)
    then = "Requests go with the others" if others else "Requests for it are refused"
    tell(f"The credential of {provider.label} is removed. {then} from now on.")
    return redirect(f"/providers#provider_{slug}", code=303)


def show(result: ConnectionView | None = None) -> Response:
    """The page, or for htmx what a provider said alone."""
    org_id, at = current_actor().org_id, now()
    views = list_providers(org_id)
    return page(
        "providers.html",
        "connection" if result is not None else "",
        rows=[(view, [_row(one, at) for one in view.credentials]) for view in views],
        plain={view.provider for view in views if is_plain(view)},
        default_label=DEFAULT_LABEL,
        actors=actor_words(org_id, [one.created_by for view in views for one in view.credentials]),
        waiting=waiting(views),
        sandboxed=any(view.at_sandbox or one.source == "sandbox" for view in views for one in view.credentials),
        may_administer=may("admin"),
        credential_settings=CREDENTIAL_SETTINGS,
        table_version=table.version(),
        result=result,
    )


def _row(one: CredentialView, at: datetime) -> tuple[CredentialView, str, str]:
    """A credential, how long ago it was set, and how long ago it was refused."""
    refused = "" if one.refused is None else relative(one.refused.at, at)
    return one, relative(one.created_at, at), refused


def then_test(view: ProviderView, what: str) -> str:
    """What is to be done once something was stored."""
    first = "It waits for a restart: start the router again, then test" if view.at_sandbox else "Test"
    return f"{first} {what} to see whether it works."


def is_plain(view: ProviderView) -> bool:
    """Whether nothing is to be told of it but its one credential, if it has any."""
    return all(one.label == DEFAULT_LABEL and one.enabled for one in view.credentials)


def _form(provider: ProviderView, form: CredentialForm, *, step: str = "set", status: int = 200) -> Response:
    return page(
        "provider_credential.html",
        "panel",
        status=status,
        provider=provider,
        form=form,
        step=step,
        waits=provider.at_sandbox,
        setting=CREDENTIAL_SETTINGS.get(provider.provider),
    )

"""Further credentials of a provider, below Providers: adding, changing, testing and removing one."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, redirect
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import BooleanField, PasswordField, StringField

from shared.models import DEFAULT_LABEL
from webapp.actions.credentials import add_credential, change_credential, remove_credential
from webapp.context import Conflict
from webapp.pages import providers
from webapp.queries.connection import check_connection
from webapp.queries.providers import get_credential, get_provider
from webapp.render import page, sentence, tell
from webapp.schemas.values import number_in
from webapp.security import current_actor, require
from webapp.validation import FieldError, Invalid
from webapp.views.providers import CredentialView, ProviderView

bp = Blueprint("credentials", __name__, url_prefix="/providers/<slug>/credentials")


class OptionsForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A credential and how it is used. The credential that was typed is never sent back."""

    label = StringField("Label", id="credential-label")
    credential = PasswordField("Credential", id="credential-secret")
    weight = StringField("Weight", id="credential-weight")
    priority = StringField("Priority", id="credential-priority")
    enabled = BooleanField("Send requests with it", id="credential-enabled")


@bp.get("/add")
@require("admin")
def ask(slug: str) -> Response:
    view = get_provider(current_actor().org_id, slug)
    return _form(view, None, OptionsForm(formdata=None, data={"weight": "1", "priority": "1", "enabled": True}))


@bp.post("/add")
@require("admin")
def add(slug: str) -> Response:
    """Store it beside the others; requests are spread over all of them from the next one on."""
    actor, form = current_actor(), OptionsForm()
    view = get_provider(actor.org_id, slug)
    document = _document(form) | {"credential": form.credential.data or ""}
    try:
        add_credential(actor, slug, document)
    except Invalid as error:
        _attach(form, error.errors)
        return _form(view, None, form, status=422)
    except Conflict as conflict:
        return _form(view, None, form, general=(conflict.message,), status=409)
    tell(
        Markup("The credential <bdi>{}</bdi> of {} is stored. {}").format(
            document["label"], view.label, providers.then_test(view, "it")
        )
    )
    return redirect(f"/providers#provider_{slug}", code=303)


@bp.get("/<credential_id>")
@require("admin")
def edit(slug: str, credential_id: str) -> Response:
    view, one = get_credential(current_actor().org_id, slug, credential_id)
    data = {"label": one.label, "weight": str(one.weight), "priority": str(one.priority), "enabled": one.enabled}
    return _form(view, one, OptionsForm(formdata=None, data=data))


@bp.post("/<credential_id>")
@require("admin")
def change(slug: str, credential_id: str) -> Response:
    """Save what was changed; a credential that was typed takes the place of the one that is stored."""
    actor, form = current_actor(), OptionsForm()
    view, one = get_credential(actor.org_id, slug, credential_id)
    document = _document(form)
    if one.label == DEFAULT_LABEL:
        document.pop("label")  # it keeps that one, and the form does not ask for it
        form.label.data = one.label
    if form.credential.data:
        document["credential"] = form.credential.data
    try:
        change_credential(actor, slug, credential_id, document)
    except Invalid as error:
        _attach(form, error.errors)
        return _form(view, one, form, status=422)
    tell(Markup("The credential <bdi>{}</bdi> of {} is saved.").format(form.label.data, view.label))
    return redirect(f"/providers#provider_{slug}", code=303)


@bp.post("/<credential_id>/test")
@require("admin")
def check(slug: str, credential_id: str) -> Response:
    """Ask the provider with this one; for htmx the answer alone."""
    return providers.show(check_connection(current_actor().org_id, slug, credential_id))


@bp.get("/<credential_id>/remove")
@require("admin")
def ask_removal(slug: str, credential_id: str) -> Response:
    view, one = get_credential(current_actor().org_id, slug, credential_id)
    return _form(view, one, OptionsForm(formdata=None), step="remove")


@bp.post("/<credential_id>/remove")
@require("admin")
def remove(slug: str, credential_id: str) -> Response:
    view, one = get_credential(current_actor().org_id, slug, credential_id)
    remove_credential(current_actor(), slug, credential_id)
    tell(Markup("The credential <bdi>{}</bdi> of {} is removed.").format(one.label, view.label))
    return redirect(f"/providers#provider_{slug}", code=303)


def _document(form: OptionsForm) -> dict[str, Any]:
    return {
        "label": form.label.data or "",
        "weight": number_in((form.weight.data or "").strip()),
        "priority": number_in((form.priority.data or "").strip()),
        "enabled": bool(form.enabled.data),
    }


def _attach(form: OptionsForm, errors: Iterable[FieldError]) -> None:
    for wrong in errors:
        field = form[wrong.field]
        field.errors = [*field.errors, sentence(wrong.message)]


def _form(
    provider: ProviderView,
    one: CredentialView | None,
    form: OptionsForm,
    *,
    step: str = "edit",
    general: Iterable[str] = (),
    status: int = 200,
) -> Response:
    return page(
        "credential_options.html",
        "panel",
        status=status,
        provider=provider,
        one=one,
        form=form,
        step=step,
        general=tuple(general),
        last=one is not None and provider.enabled == (one,),
        default_label=DEFAULT_LABEL,
        waits=provider.at_sandbox,
    )

"""Providers of the organisation's own, below Providers: adding, editing and removing one."""

from collections.abc import Iterable
from typing import Any

from flask import Blueprint, redirect
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import BooleanField, HiddenField, PasswordField, SelectField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from shared.custom_providers import API_KEY, BEARER, NONE
from webapp.actions.custom_providers import add_provider, change_provider, remove_provider
from webapp.context import Conflict, NotFound
from webapp.pages.form_patch import changed_since, seen_text
from webapp.pages.key_hints import lines_of
from webapp.queries.providers import get_provider
from webapp.render import page, sentence, tell
from webapp.security import current_actor, require
from webapp.validation import FieldError, Invalid
from webapp.views.custom_providers import CustomView
from webapp.views.providers import ProviderView

bp = Blueprint("custom_providers", __name__, url_prefix="/providers")

_AUTHS = [
    SelectChoice(BEARER, "Authorization: Bearer"),
    SelectChoice(API_KEY, "api-key (Azure)"),
    SelectChoice(NONE, "None is needed"),
]


class ProviderForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A server that speaks OpenAI's dialect. The credential that was typed is never sent back."""

    provider = StringField("Name", id="provider-name")
    base_url = StringField("Base URL", id="provider-base_url")
    auth = SelectField("Credential goes as", choices=_AUTHS, id="provider-auth")
    credential = PasswordField("Credential", id="provider-credential")
    api_version = StringField("api-version", id="provider-api_version")
    models = TextAreaField("Models", id="provider-models")
    stream_options = BooleanField("Ask streams for their usage", id="provider-stream_options")
    enabled = BooleanField("Send requests there", id="provider-enabled")
    seen = HiddenField()


@bp.get("/add")
@require("admin")
def ask() -> Response:
    return _form(None, ProviderForm(formdata=None, data={"auth": BEARER, "stream_options": True, "enabled": True}))


@bp.post("/add")
@require("admin")
def add() -> Response:
    """Add it; it is used from the next request on."""
    form = ProviderForm()
    document: dict[str, Any] = {"provider": form.provider.data or "", **_document(form)}
    if form.credential.data:
        document["credential"] = form.credential.data
    try:
        name = add_provider(current_actor(), document)
    except Invalid as error:
        return _form(None, form, general=_attach(form, error.errors), status=422)
    except Conflict as conflict:
        return _form(None, form, general=[conflict.message], status=409)
    tell(f"The provider {name} is added. Test the connection to see whether it works, and give its models a price.")
    return redirect(f"/providers#provider_{name}", code=303)


@bp.get("/<slug>/edit")
@require("admin")
def edit(slug: str) -> Response:
    view, one = _own(slug)
    data = {
        "provider": slug,
        "base_url": one.base_url,
        "auth": one.auth,
        "api_version": one.api_version or "",
        "models": "\n".join(one.models),
        "stream_options": one.stream_options,
        "enabled": one.enabled,
    }
    form = ProviderForm(formdata=None, data=data)
    form.seen.data = seen_text(_document(form))
    return _form(view, form)


@bp.post("/<slug>/edit")
@require("admin")
def change(slug: str) -> Response:
    """Save what was changed since the form was shown; it holds for the next request."""
    form, (view, _) = ProviderForm(), _own(slug)
    document = changed_since(form.seen.data, _document(form))
    if form.credential.data:
        document["credential"] = form.credential.data
    try:
        change_provider(current_actor(), slug, document)
    except Invalid as error:
        return _form(view, form, general=_attach(form, error.errors), status=422)
    tell(f"The provider {slug} is saved. It holds for the next request.")
    return redirect(f"/providers#provider_{slug}", code=303)


@bp.get("/<slug>/remove")
@require("admin")
def ask_removal(slug: str) -> Response:
    view, _ = _own(slug)
    return _form(view, ProviderForm(formdata=None), step="remove")


@bp.post("/<slug>/remove")
@require("admin")
def remove(slug: str) -> Response:
    _own(slug)
    remove_provider(current_actor(), slug)
    tell(f"The provider {slug} is removed, with its credentials and prices.")
    return redirect("/providers", code=303)


def _own(slug: str) -> tuple[ProviderView, CustomView]:
    """One of the organisation's own. Raises NotFound for any other."""
    view = get_provider(current_actor().org_id, slug)
    if view.custom is None:
        raise NotFound
    return view, view.custom


def _document(form: ProviderForm) -> dict[str, Any]:
    return {
        "base_url": form.base_url.data or "",
        "auth": form.auth.data or "",
        "api_version": (form.api_version.data or "").strip() or None,
        "models": lines_of(form.models.data),
        "stream_options": bool(form.stream_options.data),
        "enabled": bool(form.enabled.data),
    }


def _attach(form: ProviderForm, errors: Iterable[FieldError]) -> list[str]:
    """Put each message beside its field; those of no field are returned."""
    general = []
    for wrong in errors:
        name = wrong.field.partition("[")[0]
        if name in form and name not in ("seen", "csrf_token"):
            form[name].errors = [*form[name].errors, sentence(wrong.message)]
        else:
            general.append(sentence(wrong.message))
    return general


def _form(
    provider: ProviderView | None,
    form: ProviderForm,
    *,
    step: str = "edit",
    general: Iterable[str] = (),
    status: int = 200,
) -> Response:
    return page(
        "custom_provider.html",
        "panel",
        status=status,
        provider=provider,
        form=form,
        step=step,
        general=tuple(general),
    )

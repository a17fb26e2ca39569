"""The form of the organisation's settings: from what people type to the patch that the action takes.

It carries what was stored when it was shown (`seen`), so that only what somebody changed is sent on: two administrators
who change two fields at the same time both get what they want.
"""

from collections.abc import Iterable
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, SelectField, StringField

from webapp.pages.form_patch import changed_since, seen_text
from webapp.pages.key_form import RESETS
from webapp.render import sentence
from webapp.schemas.values import number_in
from webapp.validation import FieldError
from webapp.views.organization import OrganizationView

_NUMBERS = (
    "rate_limit_rpm",
    "default_expiry_days",
    "default_rate_limit_rpm",
    "default_rate_limit_tpm",
    "max_expiry_days",
    "max_rate_limit_rpm",
    "max_rate_limit_tpm",
)
_AMOUNTS = ("spend_limit_usd", "default_spend_limit_usd", "max_spend_limit_usd")
_CHOICES = ("spend_reset", "default_spend_reset")


class OrganizationForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """The organisation's name, limits of all keys together, defaults of new keys, maxima of each."""

    name = StringField("Name", id="org-name")
    time_zone = StringField("Time zone", id="org-time_zone")
    spend_limit_usd = StringField("Spend limit of all keys", id="org-spend_limit_usd")
    spend_reset = SelectField("Resets", choices=RESETS, id="org-spend_reset")
    rate_limit_rpm = StringField("Requests per minute of all keys", id="org-rate_limit_rpm")
    default_spend_limit_usd = StringField("Spend limit", id="org-default_spend_limit_usd")
    default_spend_reset = SelectField("Resets", choices=RESETS, id="org-default_spend_reset")
    default_expiry_days = StringField("Expires after, in days", id="org-default_expiry_days")
    default_rate_limit_rpm = StringField("Requests per minute", id="org-default_rate_limit_rpm")
    default_rate_limit_tpm = StringField("Tokens per minute", id="org-default_rate_limit_tpm")
    max_spend_limit_usd = StringField("Spend limit, at most", id="org-max_spend_limit_usd")
    max_expiry_days = StringField("Expires within, in days", id="org-max_expiry_days")
    max_rate_limit_rpm = StringField("Requests per minute, at most", id="org-max_rate_limit_rpm")
    max_rate_limit_tpm = StringField("Tokens per minute, at most", id="org-max_rate_limit_tpm")
    spend_limit_required = BooleanField("Every key needs a spend limit", id="org-spend_limit_required")
    seen = HiddenField()


def filled(view: OrganizationView, *, submitted: bool) -> OrganizationForm:
    """The form as it is stored, or the submitted one."""
    known: dict[str, Any] = {name: getattr(view, name) for name in ("name", "time_zone", *_CHOICES)}
    known |= {name: _text(getattr(view, name)) for name in (*_AMOUNTS, *_NUMBERS)}
    known["spend_limit_required"] = view.spend_limit_required
    if submitted:
        return OrganizationForm(data=known)
    form = OrganizationForm(formdata=None, data=known)
    form.seen.data = seen_text(_document(form))
    return form


def patch(form: OrganizationForm) -> dict[str, object]:
    """What was changed since the form was shown, as the document of the JSON endpoint."""
    return changed_since(form.seen.data, _document(form))


def attach(form: OrganizationForm, errors: Iterable[FieldError]) -> tuple[str, ...]:
    """Put each message beside its field; those of no field are returned."""
    general = []
    for error in errors:
        if error.field in form and error.field not in ("seen", "csrf_token"):
            form[error.field].errors = [*form[error.field].errors, sentence(error.message)]
        else:
            general.append(sentence(error.message))
    return tuple(general)


def _document(form: OrganizationForm) -> dict[str, object]:
    said: dict[str, object] = {
        "name": form.name.data or "",
        "time_zone": (form.time_zone.data or "").strip() or None,
        "spend_limit_required": bool(form.spend_limit_required.data),
        **{name: form[name].data for name in _CHOICES},
    }
    for name in _AMOUNTS:
        said[name] = (form[name].data or "").strip().removeprefix("$").strip() or None
    for name in _NUMBERS:
        text = (form[name].data or "").strip()
        said[name] = number_in(text) if text else None
    return said


def _text(value: object) -> str:
    return "" if value is None else str(value)

"""The form of what is told and to whom: from what people type to the patch that the action takes.

It carries what was stored when it was shown (`seen`), so that only what somebody changed is sent on.
"""

import re
from collections.abc import Iterable
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, StringField, TextAreaField

from webapp.pages.form_patch import changed_since, seen_text
from webapp.render import sentence
from webapp.schemas.values import number_in
from webapp.validation import FieldError
from webapp.views.alerts import RulesView

_NUMBERS = ("unused_days", "expiring_days", "refusals_per_10_minutes")


class AlertsForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """What is told, and by mail to whom."""

    recipients = TextAreaField("Mail to", id="alerts-recipients")
    spend_thresholds = StringField("Parts of a spend limit, in per cent", id="alerts-spend_thresholds")
    unused_days = StringField("Key unused, in days", id="alerts-unused_days")
    expiring_days = StringField("Key expires within, in days", id="alerts-expiring_days")
    refusals_per_10_minutes = StringField("Refused requests in 10 minutes", id="alerts-refusals_per_10_minutes")
    credential_refused = BooleanField("A provider refuses our credential", id="alerts-credential_refused")
    seen = HiddenField()


def filled(rules: RulesView, *, submitted: bool) -> AlertsForm:
    """The form as it is stored, or the submitted one."""
    known: dict[str, Any] = {
        name: "" if getattr(rules, name) is None else str(getattr(rules, name)) for name in _NUMBERS
    }
    known["recipients"] = "\n".join(rules.recipients)
    known["spend_thresholds"] = ", ".join(map(str, rules.spend_thresholds))
    known["credential_refused"] = rules.credential_refused
    if submitted:
        return AlertsForm(data=known)
    form = AlertsForm(formdata=None, data=known)
    form.seen.data = seen_text(_document(form))
    return form


def patch(form: AlertsForm) -> dict[str, object]:
    """What was changed since the form was shown, as the document of the JSON endpoint."""
    return changed_since(form.seen.data, _document(form))


def attach(form: FlaskForm, errors: Iterable[FieldError]) -> tuple[str, ...]:
    """Put each message beside its field, once; those of no field are returned."""
    general = []
    for error in errors:
        told = sentence(error.message)
        if error.field not in form or error.field in ("seen", "nonce", "csrf_token"):
            general.append(told)
        elif told not in form[error.field].errors:
            form[error.field].errors = [*form[error.field].errors, told]
    return tuple(general)


def numbers_in(text: str) -> list[int | str]:
    """Numbers that stand in a line; what is none stays what it is, and is refused by its name."""
    return [number_in(part) for part in re.split(r"[\s,;%]+", text) if part]


def _document(form: AlertsForm) -> dict[str, object]:
    said: dict[str, object] = {"credential_refused": bool(form.credential_refused.data)}
    said["recipients"] = [part for part in re.split(r"[\s,;]+", form.recipients.data or "") if part]
    said["spend_thresholds"] = numbers_in(form.spend_thresholds.data or "")
    for name in _NUMBERS:
        text = (form[name].data or "").strip()
        said[name] = number_in(text) if text else None
    return said

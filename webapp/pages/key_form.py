"""The form that makes and edits a key: from what people type to the document that actions take, and back.

The edit form carries what was stored when it was shown (`seen`), so that after a conflict the fields which nobody
touched follow what is stored now, and only the others are a matter of yours or theirs.

It judges nothing but what only it knows (the choice of an expiry, the date that goes with "Custom"); whether a value is
allowed is the actions' affair, the same for this form and for JSON, and their messages are put beside the fields.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, HiddenField, SelectField, SelectMultipleField, StringField, TextAreaField
from wtforms.fields import SelectChoice

from shared.catalog import PROVIDERS
from webapp.context import Actor
from webapp.pages.expiry import LATER, NEVER, expiry_of, moment_of, shown_moment
from webapp.pages.key_hints import amount_of, ip_hints, lines_of, model_hints
from webapp.pages.key_shown import seen, shown
from webapp.pages.key_values import same, words
from webapp.pages.model_limits_field import ModelLimitsField, limits_in
from webapp.render import sentence
from webapp.schemas.keys import NewKey
from webapp.schemas.values import number_in
from webapp.security import current_actor
from webapp.validation import FieldError, Invalid, read
from webapp.views.calendar import exact, zone_name
from webapp.views.custom_providers import custom_providers, names_given, own_models, own_providers, provider_labels
from webapp.views.key_lists import NONE_HAS_ANY, contradiction, names_of_own, open_places
from webapp.views.keys import KeyView
from webapp.views.organization import rules_of

RESETS = [
    SelectChoice("never", "Never: one total"),
    SelectChoice("daily", "Every day"),
    SelectChoice("weekly", "Every week"),
    SelectChoice("monthly", "Every month"),
]
_RAISE = ("spend_limit_boost_usd", "spend_limit_boost_until")
_ROW = re.compile(r"model_limits\[(\d+)\]")


class KeyForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """The fields of a key. `nonce` makes a create form work once, `version` and `seen` tie an edit to what was seen."""

    name = StringField("Name", id="key-name")
    spend_limit_usd = StringField("Spend limit", id="key-spend_limit_usd")
    spend_reset = SelectField("Resets", choices=RESETS, id="key-spend_reset")
    spend_limit_boost_usd = StringField("Raise it by", id="key-spend_limit_boost_usd")
    spend_limit_boost_until = StringField("Raised until (UTC)", id="key-spend_limit_boost_until")
    model_limits = ModelLimitsField("Limits for models", id="key-model_limits")
    expires = SelectField("Expires", id="key-expires")
    expires_at = StringField("Expires at (UTC)", id="key-expires_at")
    allowed_providers = SelectMultipleField(
        "Allowed providers",
        choices=[],
        id="key-allowed_providers",
    )
    allowed_models = TextAreaField("Allowed models", id="key-allowed_models")
    rate_limit_rpm = StringField("Requests per minute", id="key-rate_limit_rpm")
    rate_limit_tpm = StringField("Tokens per minute", id="key-rate_limit_tpm")
    max_concurrent_requests = StringField("Requests at once", id="key-max_concurrent_requests")
    allowed_ips = TextAreaField("Allowed IP addresses", id="key-allowed_ips")
    paused = BooleanField("Paused", id="key-paused")
    tags = StringField("Tags", id="key-tags")
    owner_email = StringField("Owner", id="key-owner_email")
    note = TextAreaField("Note", id="key-note")
    nonce = HiddenField()
    version = HiddenField()
    seen = HiddenField()


@dataclass(frozen=True, slots=True)
class Difference:
    """A field that somebody else changed meanwhile, or both did, in words. `yours` is None when you left it alone."""

    label: str
    yours: str | None
    stored: str


def blank(nonce: str, usual: Mapping[str, str]) -> KeyForm:
    """A form with what a new key gets if nobody says otherwise, or the submitted one."""
    form = KeyForm(data={"nonce": nonce, **usual})
    form.expires.choices = [NEVER, *LATER]
    _offer_providers(form)
    return form


def filled(view: KeyView) -> KeyForm:
    """The form as `view` fills it, or the submitted one. "Keep" leaves the expiry alone, whatever it is."""
    form = KeyForm(
        data={
            **shown(view),
            "expires": "keep",
            "expires_at": shown_moment(view.expires_at),
            "version": str(view.version),
            "seen": seen(view),
        }
    )
    _offer_expiries(form, view)
    _offer_providers(form, view.allowed_providers)
    return form


def document(form: KeyForm, now: datetime) -> dict[str, object]:
    """What the form says, as the document of the JSON endpoints. Raises Invalid for what is no date, with all else."""
    said: dict[str, object] = {
        "name": form.name.data or "",
        "spend_limit_usd": amount_of(form.spend_limit_usd.data),
        "spend_reset": form.spend_reset.data,
        "spend_limit_boost_usd": amount_of(form.spend_limit_boost_usd.data),
        "allowed_providers": list(form.allowed_providers.data or ()),
        "allowed_models": lines_of(form.allowed_models.data),
        "rate_limit_rpm": _number(form.rate_limit_rpm.data),
        "rate_limit_tpm": _number(form.rate_limit_tpm.data),
        "max_concurrent_requests": _number(form.max_concurrent_requests.data),
        "allowed_ips": lines_of(form.allowed_ips.data),
        "paused": bool(form.paused.data),
        "tags": [tag.strip() for tag in (form.tags.data or "").split(",") if tag.strip()],
        "owner_email": (form.owner_email.data or "").strip() or None,
        "note": (form.note.data or "").replace("\r\n", "\n").strip() or None,
    }
    if form.model_limits.was_sent:
        said["model_limits"] = limits_in(form.model_limits.data)
    choice, ends = form.expires.data, (form.spend_limit_boost_until.data or "").strip()
    faults: list[FieldError] = []
    try:
        said["spend_limit_boost_until"] = moment_of("spend_limit_boost_until", ends) if ends else None
    except Invalid as error:
        faults += error.errors
        said["spend_limit_boost_usd"] = None  # without an end it would be a fault of its own
    if choice != "keep" or all(offered.value != choice for offered in form.expires.choices):
        try:
            said["expires_at"] = expiry_of(choice, form.expires_at.data, now)
        except Invalid as error:
            faults += error.errors
    if faults:
        raise Invalid(*faults, *_other_errors(said, now))
    return said


def impossible(said: Mapping[str, object]) -> str | None:
    """A warning when nothing could pass what the form allows, because its models and its providers do not meet."""
    providers, patterns = said["allowed_providers"], said["allowed_models"]
    assert isinstance(providers, list)  # noqa: S101 - as `document` made it
    assert isinstance(patterns, list)  # noqa: S101 - likewise
    org_id = current_actor().org_id
    own = {one.provider: one.models for one in custom_providers(org_id)}
    named = set(names_of_own(providers, patterns))
    gone = names_given(org_id).difference(own)  # others are no warning, but a fault
    problem = contradiction(providers, patterns, named - gone)
    if problem is None and named <= own.keys() and not open_places(providers, patterns, {*PROVIDERS, *own}, own):
        problem = NONE_HAS_ANY
    return None if problem is None else f"{problem} Send it again if that is what you want."


def confirmation(warnings: Iterable[str]) -> str:
    """What a form sends along when it is sent again after these warnings, and after no others."""
    return hashlib.sha256("\n".join(warnings).encode()).hexdigest()[:16]


def without_ended_raise(form: KeyForm, said: Mapping[str, object], view: KeyView) -> Mapping[str, object]:
    """What a form says, but for a raise that ended after it was shown, if nobody touched its fields."""
    was = _seen_in(form)
    untouched = all(field in was and was[field] == said[field] for field in _RAISE)
    if not untouched or view.spend_limit_boost_until is not None:
        return said
    return {**said, **dict.fromkeys(_RAISE)}


def changes(said: Mapping[str, object], view: KeyView) -> dict[str, object]:
    """The merge patch from `view` to what the form says: only fields that differ, so the others stay untouched."""
    patch = _differing(said, view)
    if "spend_limit_boost_until" in patch:
        # So that an end which was taken away is missed: the amount alone, which still stands there, says a raise.
        patch["spend_limit_boost_usd"] = said["spend_limit_boost_usd"]
    return patch


def _differing(said: Mapping[str, object], view: KeyView) -> dict[str, object]:
    return {field: value for field, value in said.items() if not same(field, value, getattr(view, field))}


def rebase(form: KeyForm, said: Mapping[str, object], stored: KeyView) -> tuple[Difference, ...]:
    """Tie the form to the key as it is stored now; answers with where the two disagreed.

    Fields that still say what they said when the form was shown take the stored value.
    """
    was, told = _seen_in(form), []
    for field, value in _differing(said, stored).items():
        untouched = field in was and was[field] == value
        if untouched:
            form[field].data = shown(stored)[field]
        yours = None if untouched else words(value, field)
        told.append(Difference(form[field].label.text, yours, words(getattr(stored, field), field)))
    form.version.data, form.seen.data = str(stored.version), seen(stored)
    _offer_expiries(form, stored)
    return tuple(told)


def attach(form: KeyForm, errors: Iterable[FieldError]) -> list[str]:
    """Put each message beside its field; those that belong to no field of the form are returned."""
    general = []
    for error in errors:
        name = re.split(r"[.\[]", error.field, maxsplit=1)[0]
        if name == "expires_at" and form.expires.data != "custom":
            name = "expires"
        row = _ROW.match(error.field)
        message = f"row {int(row[1]) + 1} {error.message}" if row else error.message
        if name in form and name not in ("nonce", "version", "seen", "csrf_token"):
            form[name].errors = [*form[name].errors, sentence(message)]
        else:
            general.append(sentence(error.message))
    return general


def context(form: KeyForm, actor: Actor, *, key: KeyView | None = None) -> dict[str, Any]:
    """What the template wants beside the form: hints, the caller's address, what to focus, what to unfold."""
    failed = [name for name, field in form._fields.items() if field.errors]

    def used(*names: str) -> bool:
        return any(form[name].data or name in failed for name in names)

    return {
        "form": form,
        "key": key,
        "first": failed[0] if failed else "name",
        "advanced": used("rate_limit_rpm", "rate_limit_tpm", "max_concurrent_requests", "allowed_ips"),
        "about": used("tags", "owner_email", "note"),
        "raised": used("spend_limit_boost_usd", "spend_limit_boost_until"),
        "of_models": used("model_limits"),
        "model_limit_rows": form.model_limits.rows(),
        "resets": RESETS,
        "model_hints": model_hints(
            lines_of(form.allowed_models.data), form.allowed_providers.data or (), own_models(actor.org_id)
        ),
        "ip_hints": () if "allowed_ips" in failed else ip_hints(lines_of(form.allowed_ips.data)),
        "my_address": actor.ip,
        **dict.fromkeys(("general", "warnings", "secrets"), ()),
        **dict.fromkeys(("confirm", "differences")),
        "time_zone": zone_name(actor.org_id),
        "demands": rules_of(actor.org_id).sentences(),
    }


def _seen_in(form: KeyForm) -> dict[str, object]:
    """What a form that was sent says of that; empty if it says nonsense."""
    try:
        was = json.loads(form.seen.data or "")
    except (ValueError, RecursionError):
        return {}
    return was if isinstance(was, dict) else {}


def _offer_providers(form: KeyForm, listed: Iterable[str] = ()) -> None:
    """Those that there are, and those that were removed and stand in the key's list still."""
    labels = provider_labels(current_actor().org_id)
    gone = [SelectChoice(name, f"{name} (removed)") for name in listed if name not in labels]
    form.allowed_providers.choices = [*(SelectChoice(slug, label) for slug, label in labels.items()), *gone]


def _offer_expiries(form: KeyForm, view: KeyView) -> None:
    expires_at = view.expires_at
    kept = SelectChoice("keep", "Never (as it is)" if expires_at is None else f"{exact(expires_at)} (as it is)")
    form.expires.choices = [kept, *([] if expires_at is None else [NEVER]), *LATER]


def _other_errors(said: Mapping[str, object], now: datetime) -> tuple[FieldError, ...]:
    """What else is wrong, so that everything is told at once."""
    try:
        read(NewKey, said, now=now, providers=own_providers(current_actor().org_id))
    except Invalid as error:
        return error.errors
    return ()


def _number(text: str | None) -> int | str | None:
    """A whole number as one, nothing as None, and anything else as it is, for the validation to name it."""
    return number_in(text.strip()) if text and text.strip() else None

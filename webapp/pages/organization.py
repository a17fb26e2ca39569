"""Changing the organisation, below Settings: its name, and what it gives to new keys and lets keys have."""

from collections.abc import Mapping

from flask import Blueprint, redirect, request
from werkzeug.wrappers import Response

from webapp.actions.organization import update_organization
from webapp.pages import settings
from webapp.pages.key_form import confirmation
from webapp.pages.organization_form import attach, filled, patch
from webapp.pages.spent_already import below_spent
from webapp.render import tell
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.organization import organization_of, standing_of

bp = Blueprint("organization", __name__, url_prefix="/settings/organization")


@bp.post("")
@require("admin")
def update() -> Response:
    form = filled(organization_of(current_actor().org_id), submitted=True)
    said = patch(form)
    warnings = _below_spent(said)
    if warnings and request.form.get("confirmed") != confirmation(warnings):
        confirm = confirmation(warnings)
        return settings.show(settings.blank(), organization=form, organization_warnings=warnings, confirm=confirm)
    try:
        update_organization(current_actor(), said)
    except Invalid as error:
        faults = attach(form, error.errors)
        return settings.show(settings.blank(), organization=form, organization_faults=faults, status=422)
    tell("The settings are saved. Keys that are there keep the limits that they have.")
    return redirect("/settings#organization", code=303)


def _below_spent(said: Mapping[str, object]) -> list[str]:
    """A warning when a new limit of all keys lies at or below what its period has seen, as far as that is known."""
    if "spend_limit_usd" not in said:
        return []
    view = standing_of(current_actor().org_id)
    reset = said.get("spend_reset", view.spend_reset)
    if reset not in ("never", view.spend_reset):
        return []
    spent = view.spend.lifetime_nanos if reset == "never" else view.spend.spent_nanos
    warning = below_spent("All keys together have", spent, said["spend_limit_usd"])
    return [] if warning is None else [warning]

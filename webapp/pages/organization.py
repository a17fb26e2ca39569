"""Changing the organisation, below Settings: its name, and what it gives to new keys and lets keys have."""

from flask import Blueprint, redirect
from werkzeug.wrappers import Response

from webapp.actions.organization import update_organization
from webapp.pages import settings
from webapp.pages.organization_form import attach, filled, patch
from webapp.render import tell
from webapp.security import current_actor, require
from webapp.validation import Invalid
from webapp.views.organization import organization_of

bp = Blueprint("organization", __name__, url_prefix="/settings/organization")


@bp.post("")
@require("admin")
def update() -> Response:
    form = filled(organization_of(current_actor().org_id), submitted=True)
    try:
        update_organization(current_actor(), patch(form))
    except Invalid as error:
        faults = attach(form, error.errors)
        return settings.show(settings.blank(), organization=form, organization_faults=faults, status=422)
    tell("The settings are saved. Keys that are there keep the limits that they have.")
    return redirect("/settings#organization", code=303)

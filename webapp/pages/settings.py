"""Settings: the organisation, where apps connect, and management tokens (for administrators)."""

import secrets
from collections.abc import Sequence
from typing import Any

from flask import Blueprint
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, SelectMultipleField, StringField
from wtforms.fields import SelectChoice

from shared import zones
from shared.models import ADMIN_SCOPE
from webapp.access import behind_untrusted_tls, lacks_told_tls
from webapp.addresses import proxy_url
from webapp.context import now
from webapp.pages.actor_words import actor_words
from webapp.pages.organization_facts import together
from webapp.pages.organization_form import OrganizationForm, filled
from webapp.pages.token_facts import TokenRow, token_row
from webapp.queries.tokens import list_tokens
from webapp.render import page
from webapp.security import current_actor, may, require
from webapp.views.organization import rules_of, standing_of

bp = Blueprint("settings", __name__, url_prefix="/settings")
SCOPE_CHOICES = [
    SelectChoice("keys:read", "Read keys"),
    SelectChoice("keys:write", "Create, change and revoke keys"),
    SelectChoice("usage:read", "Read usage"),
    SelectChoice(ADMIN_SCOPE, "Administer: members, tokens, credentials, prices, settings"),
]
LIFETIMES = {"30": 30, "90": 90, "365": 365, "never": None}  # in days
LIFETIME_CHOICES = [
    SelectChoice("30", "In 30 days"),
    SelectChoice("90", "In 90 days"),
    SelectChoice("365", "In a year"),
    SelectChoice("never", "Never"),
]


class TokenForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """A new management token."""

    name = StringField("Name", id="token-name")
    scopes = SelectMultipleField("Scopes", choices=SCOPE_CHOICES, id="token-scopes")
    lifetime = SelectField("Expires", choices=LIFETIME_CHOICES, id="token-lifetime")
    nonce = HiddenField()


@bp.get("")
@require("viewer")
def index() -> Response:
    return show(blank())


def blank() -> TokenForm:
    """The token form as it is shown first, whatever another form of the page sends."""
    return TokenForm(formdata=None, data={"scopes": ["keys:read"], "lifetime": "90"})


def show(
    form: TokenForm,
    *,
    general: tuple[str, ...] = (),
    used: str = "",
    organization: OrganizationForm | None = None,
    organization_faults: tuple[str, ...] = (),
    organization_warnings: Sequence[str] = (),
    confirm: str = "",
    status: int = 200,
) -> Response:
    """The page with these forms in it; `used` says what the same token form has made already.

    `confirm` is what the organisation's form sends along when it is sent again after these warnings.
    """
    administers = may("admin")
    at = now()
    tokens: list[TokenRow] = []
    if administers:
        tokens = [token_row(view, at) for view in list_tokens(current_actor().org_id)]
    view = standing_of(current_actor().org_id)
    failed: list[Any] = [field.id for one in (form, organization or ()) for field in one if field.errors]
    form.nonce.data = secrets.token_urlsafe(24)
    return page(
        "settings.html",
        status=status,
        form=form,
        general=general,
        used=used,
        organization=view,
        organization_form=organization or filled(view, submitted=False),
        organization_faults=organization_faults,
        organization_warnings=organization_warnings,
        confirm=confirm,
        time_zones=zones.names(),
        rules=rules_of(view.id),
        together=together(view, at),
        first=failed[0] if failed else None,
        tokens=tokens,
        actors=actor_words(current_actor().org_id, [token.created_by for token in tokens]),
        may_administer=administers,
        proxy_url=proxy_url(),
        untrusted_tls=behind_untrusted_tls(),
        untold_tls=lacks_told_tls(),
    )

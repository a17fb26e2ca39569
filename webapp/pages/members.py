"""Members, below Settings, for administrators: invitations, roles, shutting out and letting in, new passwords."""

import re
import secrets

from flask import Blueprint, redirect, request
from flask_login import current_user
from flask_wtf import FlaskForm
from markupsafe import Markup
from werkzeug.wrappers import Response
from wtforms import HiddenField, SelectField, StringField
from wtforms.fields import SelectChoice

from webapp.actions import invitations, users
from webapp.actions.login import need_passwords
from webapp.actions.members import update_member
from webapp.addresses import dashboard_url
from webapp.context import Conflict, now
from webapp.pages.actor_words import actor_words
from webapp.queries.invitations import list_invitations
from webapp.queries.users import ending_tokens_of, get_user, list_users
from webapp.render import page, relative, sentence, tell
from webapp.schemas.invitations import NewInvitation
from webapp.schemas.members import MemberPatch
from webapp.security import current_actor, require
from webapp.validation import Invalid, read

bp = Blueprint("members", __name__, url_prefix="/settings/members")


_NONCE = re.compile(r"[\w-]{16,64}", re.ASCII)
ROLE_CHOICES = [
    SelectChoice("viewer", "Viewer: reads"),
    SelectChoice("member", "Member: manages keys"),
    SelectChoice("admin", "Administrator: everything"),
]


class InvitationForm(FlaskForm):  # type: ignore[misc] # Flask-WTF publishes no types
    """Somebody to be invited."""

    email = StringField("Email", id="invitation-email")
    role = SelectField("Role", choices=ROLE_CHOICES, id="invitation-role")
    nonce = HiddenField()


@bp.get("")
@require("admin")
def index() -> Response:
    return _show(InvitationForm(formdata=None, data={"role": "member"}))


@bp.post("/invitations")
@require("admin")
def invite() -> Response:
    """Make a link, which is shown in this answer and never again; one for each form, however often it is sent."""
    form = InvitationForm()
    nonce = form.nonce.data if _NONCE.fullmatch(form.nonce.data or "") else secrets.token_urlsafe(24)
    try:
        wanted = read(NewInvitation, {"email": form.email.data or "", "role": form.role.data or ""})
        created = invitations.invite(current_actor(), wanted.email, wanted.role, once=nonce)
    except Invalid as error:
        for wrong in error.errors:
            form[wrong.field].errors = [*form[wrong.field].errors, sentence(wrong.message)]
        return _show(form, status=422)
    except Conflict as conflict:
        return _show(form, general=(conflict.message,), status=409)
    link = f"{dashboard_url()}/invitation/{created.secret}"
    return page("member.html", "panel", status=201, step="invited", member=created.view, secret=link)


@bp.post("/invitations/<invitation_id>/withdraw")
@require("admin")
def withdraw(invitation_id: str) -> Response:
    view = invitations.withdraw(current_actor(), invitation_id)
    tell(Markup("The link for <bdi>{}</bdi> opens nothing any more.").format(view.email))
    return redirect("/settings/members", code=303)


@bp.post("/<user_id>/role")
@require("admin")
def set_role(user_id: str) -> Response:
    """Asks first when tokens end with it."""
    if user_id == current_user.user_id:
        return _refused("You cannot change your own role. Another administrator can.")
    actor, role = current_actor(), request.form.get("role", "")
    try:
        wanted = read(MemberPatch, {"role": role}).role
        member = get_user(actor.org_id, user_id)
        tokens = ending_tokens_of(actor.org_id, member.email, wanted) if wanted != member.role else ()
        if tokens and "sure" not in request.form:
            return page("member.html", "panel", step="role", member=member, role=wanted, tokens=tokens)
        member = update_member(actor, user_id, {"role": wanted})
    except Conflict as conflict:
        return _refused(conflict.message)
    tell(Markup("<bdi>{}</bdi> is {} now.").format(member.email, member.role))
    return redirect("/settings/members", code=303)


@bp.get("/<user_id>/deactivate")
@require("admin")
def ask(user_id: str) -> Response:
    org_id = current_actor().org_id
    member = get_user(org_id, user_id)
    return page("member.html", "panel", step="deactivate", member=member, tokens=ending_tokens_of(org_id, member.email))


@bp.post("/<user_id>/deactivate")
@require("admin")
def deactivate(user_id: str) -> Response:
    if user_id == current_user.user_id:
        return _refused("You cannot deactivate yourself. Another administrator can.")
    try:
        member = update_member(current_actor(), user_id, {"active": False})
    except Conflict as conflict:
        return _refused(conflict.message)
    tell(Markup("Deactivated <bdi>{}</bdi>. All of their sessions and tokens have ended.").format(member.email))
    return redirect("/settings/members", code=303)


@bp.post("/<user_id>/activate")
@require("admin")
def activate(user_id: str) -> Response:
    member = update_member(current_actor(), user_id, {"active": True})
    tell(Markup("<bdi>{}</bdi> may log in again.").format(member.email))
    return redirect("/settings/members", code=303)


@bp.get("/<user_id>/password")
@require("admin")
def ask_password(user_id: str) -> Response:
    member, nonce = get_user(current_actor().org_id, user_id), secrets.token_urlsafe(24)
    return page("member.html", "panel", step="password", member=member, nonce=nonce)


@bp.post("/<user_id>/password")
@require("admin")
def reset_password(user_id: str) -> Response:
    """A new password, shown this once to the administrator, who hands it over; one for each form."""
    if user_id == current_user.user_id:
        return _refused("Change your own password under Account.")
    nonce = request.form.get("nonce", "")
    once = nonce if _NONCE.fullmatch(nonce) else secrets.token_urlsafe(24)
    try:
        need_passwords()
        created = users.reset_password(current_actor(), user_id, once=once)
    except Conflict as conflict:
        return _refused(conflict.message)
    member = get_user(current_actor().org_id, user_id)
    return page("member.html", "panel", status=201, step="reset", member=member, secret=created.password)


def _show(form: InvitationForm, *, general: tuple[str, ...] = (), status: int = 200) -> Response:
    at, org_id = now(), current_actor().org_id
    open_ones = list_invitations(org_id)
    failed = [field.name for field in form if field.errors]
    form.nonce.data = secrets.token_urlsafe(24)
    return page(
        "members.html",
        status=status,
        form=form,
        general=general,
        first=failed[0] if failed else None,
        members=[(view, relative(view.created_at, at)) for view in list_users(org_id)],
        invitations=[(view, relative(view.expires_at, at)) for view in open_ones],
        actors=actor_words(org_id, [view.created_by for view in open_ones]),
        roles=[(choice.value, str(choice.label).partition(":")[0]) for choice in ROLE_CHOICES],
        my_id=current_user.user_id,
    )


def _refused(text: str) -> Response:
    back = {"back_href": "/settings/members", "back_to": "the members"}
    return page("notice.html", "panel", status=409, title="Nothing was changed", text=text, **back)

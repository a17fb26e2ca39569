"""`flask --app wsgi users ...`: members of staff."""

from typing import Any

import click

from webapp.actions.members import update_member
from webapp.actions.single_sign_on import unlink
from webapp.actions.users import CreatedUser, create_user, reset_password
from webapp.cli.fields import options, said
from webapp.cli.output import as_json_option, tell_json, tell_table
from webapp.cli.running import Commands, actor
from webapp.context import Actor, NotFound
from webapp.queries.users import get_user, list_users
from webapp.schemas.members import CreatedMember, Member, MemberList, NewMember, fold_email
from webapp.validation import read
from webapp.views.users import UserView

users = Commands("users", help="Members of staff.", missing="There is no member with this email.")


@users.command("create")
@click.argument("email")
@options(NewMember, leave_out=["email", "password"])  # on a command line a password is seen by everybody on the machine
@as_json_option
def create_command(as_json: bool, **asked: Any) -> None:  # noqa: FBT001 - click's way
    """Add a member of staff and print the password that was made up, this once."""
    wanted, who = read(NewMember, said(NewMember, asked)), actor()
    created = create_user(who, wanted.email, wanted.role)
    if as_json:
        _tell_password(who, created)
    else:
        click.echo(f"{created.email} ({created.role}), password: {created.password}")


@users.command("list")
@as_json_option
def list_command(as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Print all members of staff, by email."""
    views = list_users(actor().org_id)
    if as_json:
        tell_json(MemberList(data=[Member.model_validate(view) for view in views]))
    else:
        head = ("EMAIL", "ROLE", "ACTIVE", "SINCE")
        tell_table(head, [(view.email, view.role, view.active, view.created_at) for view in views])


@users.command("role")
@click.argument("email")
@click.argument("role")
@as_json_option
def role_command(email: str, role: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Let the member EMAIL do more or less: ROLE is viewer, member or admin."""
    view = _updated(email, {"role": role})
    _tell(view, f"{view.email} is {view.role} now.", as_json=as_json)


@users.command("deactivate")
@click.argument("email")
@as_json_option
def deactivate_command(email: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Shut a member out: their sessions and the management tokens that they made end at once."""
    view = _updated(email, {"active": False})
    _tell(view, f"{view.email} is deactivated.", as_json=as_json)


@users.command("activate")
@click.argument("email")
@as_json_option
def activate_command(email: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Let a member log in again, with the password they had."""
    view = _updated(email, {"active": True})
    _tell(view, f"{view.email} may log in again.", as_json=as_json)


@users.command("password")
@click.argument("email")
@as_json_option
def password_command(email: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Make up a new password for a member, print it, this once, and end their sessions."""
    who = actor()
    created = reset_password(who, _user_id(who, email))
    if as_json:
        _tell_password(who, created)
    else:
        click.echo(f"{created.email}, password: {created.password}")


@users.command("unlink")
@click.argument("email")
@as_json_option
def unlink_command(email: str, as_json: bool) -> None:  # noqa: FBT001 - click's way
    """Forget which account at the sign-in provider is a member's; they are found by their email at their next login."""
    who = actor()
    user_id = _user_id(who, email)
    gone = unlink(who, user_id)
    view = get_user(who.org_id, user_id)
    sentence = f"{view.email} is unlinked, and logged out." if gone else f"{view.email} was not linked."
    _tell(view, sentence, as_json=as_json)


def _updated(email: str, patch: dict[str, object]) -> UserView:
    who = actor()
    return update_member(who, _user_id(who, email), patch)


def _user_id(who: Actor, email: str) -> str:
    wanted = fold_email(email)
    for view in list_users(who.org_id):
        if view.email == wanted:
            return view.id
    raise NotFound


def _tell(view: UserView, sentence: str, *, as_json: bool) -> None:
    if as_json:
        tell_json(Member.model_validate(view))
    else:
        click.echo(sentence)


def _tell_password(who: Actor, created: CreatedUser) -> None:
    told = CreatedMember.model_validate(get_user(who.org_id, created.user_id))
    told.password = created.password
    tell_json(told)

"""Logging in through the provider: who comes back is a member already, or becomes one, or is told why not.

Somebody who was here before is known by the provider's subject alone. The first time they are found by their email, if
the provider has verified it: as a member, as somebody who was invited, or as nobody yet. If groups mean roles, the role
is set anew at each login. All of it is in the audit log, and within bounds who was refused although the provider knows
them.
"""

import logging
import math
from dataclasses import dataclass, replace

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import delete, select
from sqlalchemy.orm import scoped_session

from shared.config import Settings, SignIn
from shared.counters import Guarded, LoginThrottle
from shared.models import ROLES, Identity, Invitation, User
from webapp import passwords
from webapp.actions import audit
from webapp.actions.login import network_of, open_for
from webapp.actions.login_refusals import ACTOR, note_refusal
from webapp.actions.sessions import end_all
from webapp.actions.users import add_user, change_user, email_fault
from webapp.context import Actor, Conflict, NotFound, now
from webapp.db import db, first_or_next, writing
from webapp.events import EVENTS
from webapp.offload import OFFLOAD, TooBusy, TookTooLong
from webapp.oidc import Attempt, Fault, Provider, ProviderFault
from webapp.oidc_claims import Person
from webapp.schemas.members import fold_email

# Of a network. Nobody can guess a code, and others behind the same address have no other door: so the wait is short.
_FREE_FAILURES, _LONGEST_WAIT_SECONDS = 20, 5.0
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """`session_id` is the secret for the cookie. `kept_role`: the last administrator, whose groups would give less."""

    session_id: str
    kept_role: bool
    has_logout: bool  # at the provider too

    def __repr__(self) -> str:
        return "SignedIn(...)"


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody came in. The message is for the person, the reason for the log; the status is HTTP's."""

    reason: str
    message: str
    status: int = 403


@dataclass(frozen=True, slots=True)
class _Member:
    """Who it was found to be, with the role of until now."""

    user_id: str
    email: str
    role: str


_FAULTS: dict[Fault, tuple[int, str]] = {
    "unreachable": (503, "The sign-in provider does not answer at the moment. Please try again in a minute."),
    "misconfigured": (502, "The sign-in provider answers with something that cannot be used. The log says what it is."),
    "client_refused": (502, "The sign-in provider does not accept this router. Its client id or secret here is wrong."),
    "code_refused": (400, "The provider takes this login as used already, or as too old. Please try again."),
    "token_refused": (502, "What the sign-in provider says is not meant for this router or login. The log says why."),
    "token_expired": (502, "What the sign-in provider says has expired already. One of the two clocks may be wrong."),
}
# By these somebody may be guessing; with the others nobody has done anything wrong.
_COUNTED = ("code_refused", "token_refused", "token_expired")


def begin(redirect_uri: str, *, anew: bool = False) -> tuple[str, Attempt] | Refused:
    """Where to send the browser, and what it keeps meanwhile. May raise `offload.TooBusy`."""
    provider, attempt = _provider(), Provider.make_attempt()
    try:
        url: str = OFFLOAD.sign_ins(lambda: provider.login_url(attempt, redirect_uri, anew=anew))
    except (ProviderFault, TookTooLong) as error:
        return _at_fault(error, None)
    return url, attempt


def logout_url(back_to: str) -> str | Refused:
    """Where the browser logs out at the provider too. May raise `offload.TooBusy`."""
    provider = _provider()
    try:
        url: str | None = OFFLOAD.sign_ins(provider.logout_url, back_to)
    except (ProviderFault, TookTooLong) as error:
        return _at_fault(error, None)
    return url or Refused("no_logout", "The sign-in provider has no page to log out at.", 404)


def finish(actor: Actor, code: str, attempt: Attempt, redirect_uri: str, *, agent: str = "") -> SignedIn | Refused:
    """Let in whom the code is about. The actor is the system, at the address of the browser.

    May raise `offload.TooBusy`, and CountersUnavailable: without its throttle the door stays closed, as for passwords.
    """
    provider, at = _provider(), now()
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    # The first is forgotten on success and the others count one less, so the first is this login alone.
    names = [
        Guarded(f"login {attempt.state}"),
        Guarded(f"logins at the provider from {network_of(actor.ip)}", _FREE_FAILURES, _LONGEST_WAIT_SECONDS),
    ]
    tried = throttle.attempt(names)
    if not tried.admitted:
        EVENTS.note("login_throttled", ip=actor.ip)
        seconds = math.ceil(tried.wait_seconds)
        return Refused("throttled", f"Too many attempts. The next one is possible in {seconds} s.", 429)
    db.session.rollback()  # the provider may take its time, and others need the connection
    try:
        person: Person = OFFLOAD.sign_ins(provider.redeem, code, attempt, redirect_uri, at)
    except (ProviderFault, TookTooLong) as error:
        refused = _at_fault(error, actor.ip)
        if refused.reason not in _COUNTED:
            throttle.succeeded(names)
        return refused
    except TooBusy:
        throttle.succeeded(names)  # nobody did anything wrong
        raise
    throttle.succeeded(names)
    person = _with_folded_email(person)
    return _let_in(actor, person, has_logout=provider.has_logout, agent=agent)


def _with_folded_email(person: Person) -> Person:
    """As emails are compared here. What folds to another in more than its case may be somebody else's there."""
    folded = fold_email(person.email)
    same = folded == person.email.strip().lower()
    return replace(person, email=folded, email_verified=person.email_verified and same)


def unlink(actor: Actor, user_id: str) -> int:
    """Forget who a member is to the provider, so that they are found by their email the next time; their sessions end.

    How many identities there were. Raises NotFound.
    """
    with writing() as session:
        if session.scalar(select(User.id).where(User.id == user_id, User.org_id == actor.org_id)) is None:
            raise NotFound
        gone = session.execute(delete(Identity).where(Identity.user_id == user_id).returning(Identity.subject)).all()
        if gone:
            end_all(session, user_id)
            audit(session, actor, "user.unlink", user_id)
    return len(gone)


def _provider() -> Provider:
    """The one of the settings; without one, no page leads here."""
    provider: Provider = current_app.extensions["oidc"]
    return provider


def _at_fault(error: ProviderFault | TookTooLong, ip: str | None) -> Refused:
    fault: Fault = error.fault if isinstance(error, ProviderFault) else "unreachable"
    EVENTS.note("login_refused", ip=ip, reason=fault)
    log.warning("nobody can log in through the sign-in provider: %s", error if str(error) else "it takes too long")
    status, message = _FAULTS[fault]
    return Refused(fault, message, status)


def _let_in(actor: Actor, person: Person, *, has_logout: bool, agent: str) -> SignedIn | Refused:
    settings = _settings()
    role = settings.role_of(person.groups or ())
    if person.lacking:
        found: _Member | Refused = Refused("claim_missing", _not_of_here(settings, person))
    elif settings.roles and role is None:
        found = Refused("no_role", _no_role(settings, person))
    else:
        found = first_or_next(lambda: _member(actor, person, role))
    if isinstance(found, _Member) and settings.roles and person.groups is None and _is_less(role, found.role):
        # A claim that is missing says nothing, and what it would take away does not come back with it.
        found = Refused("no_groups", _no_role(settings, person))
    if isinstance(found, Refused):
        note_refusal(actor, person, found.reason)
        return found
    kept = False
    if settings.roles and role is not None and role != found.role:
        kept = not _follow_groups(replace(actor, name=ACTOR), found.user_id, role)
    session_id = open_for(replace(actor, name=found.email), found.user_id, agent=agent, told={"through": ACTOR})
    EVENTS.note("login_accepted", ip=actor.ip, user=found.user_id)
    return SignedIn(session_id, kept_role=kept, has_logout=has_logout)


def _is_less(role: str | None, than: str) -> bool:
    return role is not None and ROLES.index(role) < ROLES.index(than)


def _settings() -> SignIn:
    settings: Settings = current_app.extensions["settings"]
    if settings.sign_in is None:
        raise NotFound
    return settings.sign_in


def _not_of_here(settings: SignIn, person: Person) -> str:
    needed = [f"{name} must be {' or '.join(settings.required_claims[name])}" for name in person.lacking]
    return f"Your account at the sign-in provider may not be used here: its {', and its '.join(needed)}."


def _no_role(settings: SignIn, person: Person) -> str:
    needed = f"One of these is needed: {', '.join(settings.roles)}."
    if person.groups is None:
        return f"The sign-in provider did not say in which groups you are (claim {settings.groups_claim}). {needed}"
    return f"You are in no group that may come in here. {needed}"


def _member(actor: Actor, person: Person, role: str | None) -> _Member | Refused:
    """Who it is, noted as somebody who was here; or why it is nobody. `role` is what the groups give."""
    with writing() as session:
        identity = session.get(Identity, (person.issuer, person.subject))
        if identity is not None:
            user = session.get_one(User, identity.user_id)
        else:
            found = _by_email(session, actor, person, role)
            if isinstance(found, Refused):
                return found
            user = found
            identity = Identity(issuer=person.issuer, subject=person.subject, user_id=user.id)
            identity.created_at = identity.seen_at = now()
            session.add(identity)
            told = {"issuer": person.issuer, "subject": person.subject}
            audit(session, replace(actor, name=user.email), "user.link", user.id, after=told)
        if user.org_id != actor.org_id or user.disabled_at is not None:
            session.rollback()
            return Refused("deactivated", "You may not log in here any more: your membership was ended.")
        identity.seen_at = now()
        return _Member(user.id, user.email, user.role)


def _by_email(session: scoped_session[Session], actor: Actor, person: Person, role: str | None) -> User | Refused:
    """Whom to know by this subject from now on: a member, or somebody new."""
    if email_fault(person.email) is not None:
        return Refused("no_email", "The sign-in provider did not say which email address you have.")
    if not person.email_verified:
        message = f"The sign-in provider has not verified that {person.email} is yours, so it is not known who you are."
        return Refused("email_not_verified", message)
    user = session.scalar(select(User).where(User.email == person.email))
    if user is not None:
        other = select(Identity.subject).where(Identity.user_id == user.id, Identity.issuer == person.issuer)
        if session.scalar(other) is not None:
            message = f"{person.email} belongs to a member who logs in with another account at the sign-in provider."
            return Refused("another_account", f"{message} If it is yours, an administrator can unlink the old one.")
        return user
    query = select(Invitation).where(Invitation.org_id == actor.org_id, Invitation.email == person.email)
    invitation = session.scalar(query.where(Invitation.expires_at > now()).with_for_update())
    if not _settings().roles and invitation is not None:
        role = invitation.role
    if role is None:
        return Refused("not_invited", f"{person.email} is no member yet. An administrator can invite you.")
    newcomer = replace(actor, name=person.email)
    # They have no password: nothing matches this one.
    user_id = add_user(session, newcomer, person.email, role, passwords.unknown_hash())
    if invitation is not None:
        told = {"email": person.email, "role": role, "by": invitation.created_by}
        audit(session, newcomer, "invitation.accept", invitation.id, after=told)
        session.delete(invitation)
    session.flush()
    return session.get_one(User, user_id)


def _follow_groups(actor: Actor, user_id: str, role: str) -> bool:
    """Give somebody the role of their groups; False when they are the last administrator, who stays one."""
    try:
        change_user(actor, user_id, role=role)
    except Conflict:
        with writing() as session:
            audit(session, actor, "user.role_kept", user_id, after={"groups_give": role})
        return False
    return True

"""Who is refused although the sign-in provider knows them: in the audit log, within bounds, and in the log each time.

They are no strangers who guess, so that people here want to see them. But whoever can make accounts at the provider, as
anybody can at some, would fill the audit log without an end.
"""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import select

from shared.models import AuditEvent, Identity, User
from shared.secret_text import masked
from webapp.actions import audit
from webapp.actions.login import LONGEST_EMAIL
from webapp.actions.users import email_fault
from webapp.context import Actor, now
from webapp.db import writing
from webapp.events import EVENTS
from webapp.oidc_claims import Person

ACTOR = "sign-in provider"
TOLD_AGAIN = timedelta(hours=1)  # of the same person for the same reason
MOST_STRANGERS = 100  # events within that time, of people who are nobody here


def note_refusal(actor: Actor, person: Person, reason: str) -> None:
    """Tell of it, unless that was done lately or of too many."""
    told = {
        "email": masked(person.email)[:LONGEST_EMAIL],
        "subject": person.subject,
        "reason": reason,
        "through": ACTOR,
    }
    with writing() as session:
        identity = session.get(Identity, (person.issuer, person.subject))
        user_id = identity.user_id if identity is not None else None
        if user_id is None and person.email_verified and email_fault(person.email) is None:
            query = select(User.id).where(User.email == person.email, User.org_id == actor.org_id)
            user_id = session.scalar(query)
        target = user_id or actor.org_id
        lately = select(AuditEvent.after).where(AuditEvent.org_id == actor.org_id, AuditEvent.target == target)
        lately = lately.where(AuditEvent.at > now() - TOLD_AGAIN, AuditEvent.actor == ACTOR)
        known = session.scalars(lately.where(AuditEvent.action == "login.refuse")).all()
        unaudited = told in known or (user_id is None and len(known) >= MOST_STRANGERS)
        if not unaudited:
            audit(session, replace(actor, name=ACTOR), "login.refuse", target, after=told)
    EVENTS.note("login_refused", ip=actor.ip, user=user_id, reason=reason, unaudited=unaudited or None)

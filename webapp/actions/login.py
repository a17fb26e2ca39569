"""Coming in and going out: passwords, the throttle on guessing, and sessions kept on the server.

The cookie holds a random id; the database its SHA-256. So a stolen database opens no session, and a deleted row ends
one at once. A try is counted before the password is looked at, so that many tries at once cannot slip past.
"""

import hashlib
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import delete, select
from sqlalchemy.orm import scoped_session

from shared.config import Settings
from shared.counters import Guarded, LoginThrottle
from shared.models import AGENT_LENGTH, KnownPlace, User, UserSession
from webapp import passwords
from webapp.actions import audit
from webapp.context import Actor, Conflict, now
from webapp.db import db, writing
from webapp.events import EVENTS
from webapp.schemas.members import fold_email

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
_SEEN_EVERY = timedelta(minutes=1)
_MOST_PLACES = 20  # of one person
LONGEST_EMAIL = 254


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`session_id` is the secret for the cookie; `browser` the one by which this browser is known from now on."""

    session_id: str
    browser: str

    def __repr__(self) -> str:
        return "LoggedIn(...)"


@dataclass(frozen=True, slots=True)
class Refused:
    """Wrong email or password, nobody says which. The next try is allowed after `wait_seconds`.

    `looked` is False when the try came too early, so that the password was not even looked at.
    """

    wait_seconds: float
    looked: bool = True


@dataclass(frozen=True, slots=True)
class Staff:
    """A member of staff who is logged in."""

    user_id: str
    org_id: str
    email: str
    role: str


@dataclass(frozen=True, slots=True)
class _Found:
    """What is stored of whoever has an email."""

    user_id: str
    org_id: str
    email: str
    role: str
    password_hash: str
    disabled: bool
    places: frozenset[str]

    def actor(self, ip: str | None) -> Actor:
        return Actor(self.org_id, self.email, ip, role=self.role)


def need_passwords() -> None:
    """Raises Conflict "passwords_off" where nobody logs in by one."""
    settings: Settings = current_app.extensions["settings"]
    if not settings.password_login:
        raise Conflict("passwords_off", "Passwords are switched off here. Log in through the sign-in provider.")


def log_in(email: str, password: str, ip: str | None, *, browser: str = "", agent: str = "") -> LoggedIn | Refused:
    """Check a password. Raises CountersUnavailable: without its throttle the door stays closed.

    Raises Conflict "passwords_off" as well.
    """
    need_passwords()
    email = fold_email(email)
    network, own = network_of(ip), _browser_place(browser) if browser else ""
    found = _find(email)
    names = _names(email, network, own, found.places if found else frozenset())
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    tried = throttle.attempt(names)
    if not tried.admitted:
        EVENTS.note("login_throttled", ip=ip, user=found.user_id if found else None)
        return Refused(tried.wait_seconds, looked=False)
    # The same work for a user who does not exist, so that the time tells nothing.
    unknown = passwords.unknown_hash()
    stored = unknown if found is None else found.password_hash
    right = passwords.matches(stored, password)
    if found is None or found.disabled or not right:
        _note_refusal(found, ip)
        return Refused(tried.wait_seconds)
    throttle.succeeded(names)
    known = browser if own in found.places else None
    rehashed = passwords.hash_password(password) if passwords.is_outdated(stored) else None
    inside = open_here(found.actor(ip), found.user_id, browser=known, password_hash=rehashed, agent=agent)
    EVENTS.note("login_accepted", ip=ip, user=found.user_id)
    return inside


def _find(email: str) -> _Found | None:
    """Lets go of the connection: looking at a password takes long, and others need it."""
    if len(email) > LONGEST_EMAIL or not email.isprintable():
        return None
    user = db.session.scalar(select(User).where(User.email == email))
    if user is None:
        db.session.rollback()
        return None
    places = db.session.scalars(select(KnownPlace.place).where(KnownPlace.user_id == user.id)).all()
    found = _Found(
        user.id, user.org_id, user.email, user.role, user.password_hash, user.disabled_at is not None, frozenset(places)
    )
    db.session.rollback()
    return found


def _names(email: str, network: str, browser: str, known: Collection[str]) -> list[Guarded]:
    """By what a try is judged. Whoever comes from where they have been before does not pay for what strangers do.

    A browser that is known counts by itself, so not even guesses from its own network slow it down. Strangers are
    counted by account and network together, by network, and by account, whose longest wait leaves them a few dozen
    tries a day wherever they come from.
    """
    if browser and browser in known:
        return [Guarded(f"{email} in {browser}")]
    together = f"{email} from {network}"
    if network in known:
        return [Guarded(together, longest_wait_seconds=900)]
    return [
        Guarded(together),
        Guarded(f"anybody from {network}", free_failures=20),
        Guarded(f"{email} from anywhere", free_failures=10, longest_wait_seconds=3600),
    ]


def _note_refusal(found: _Found | None, ip: str | None) -> None:
    """Somebody's failed login is in the audit log of their organisation; a guess at nobody is in the log alone."""
    EVENTS.note("login_refused", ip=ip, user=found.user_id if found else None)
    if found is not None:
        with writing() as session:
            audit(session, found.actor(ip), "login.refuse", found.user_id)


def open_here(
    actor: Actor, user_id: str, *, browser: str | None = None, password_hash: str | None = None, agent: str = ""
) -> LoggedIn:
    """Begin a session for somebody whose password is known to be right, and remember from where.

    `browser` is the secret by which theirs is known already; without it the browser gets a new one.
    """
    browser = browser or secrets.token_urlsafe(32)
    places = {_browser_place(browser)} if actor.ip is None else {_browser_place(browser), network_of(actor.ip)}
    return LoggedIn(open_for(actor, user_id, password_hash=password_hash, places=places, agent=agent), browser)


def open_for(
    actor: Actor,
    user_id: str,
    *,
    password_hash: str | None = None,
    places: Collection[str] = (),
    agent: str = "",
    told: Mapping[str, object] | None = None,
) -> str:
    """Begin a session for somebody of whom it is known who they are; answers with its secret id. Clears away old ones.

    `told` is what the audit log has to say of how they came in, unless by a password.
    """
    session_id, at = secrets.token_urlsafe(32), now()
    with writing() as session:
        session.execute(delete(UserSession).where(UserSession.created_at < at - LONGEST))
        session.execute(delete(UserSession).where(UserSession.seen_at < at - IDLE))
        # Locked, so that two logins of one person at the same moment do not both make the same places.
        user = session.get_one(User, user_id, with_for_update=True)
        if password_hash is not None:
            user.password_hash = password_hash
        shown = "".join(character for character in agent if character.isprintable())[:AGENT_LENGTH]
        row = UserSession(digest=session_digest(session_id), user_id=user_id, created_at=at, seen_at=at)
        row.ip, row.agent = actor.ip, shown or None
        session.add(row)
        _remember(session, user_id, places, at)
        audit(session, actor, "login.accept", user_id, after=told)
    return session_id


def _remember(session: scoped_session[Session], user_id: str, places: Collection[str], at: datetime) -> None:
    """Note where somebody logged in; of many such places those of long ago are forgotten."""
    for place in places:
        session.merge(KnownPlace(user_id=user_id, place=place, seen_at=at))
    session.flush()
    query = select(KnownPlace).where(KnownPlace.user_id == user_id).order_by(KnownPlace.seen_at.desc())
    for row in session.scalars(query.offset(_MOST_PLACES)):
        session.delete(row)


def open_session(session_id: str) -> Staff | None:
    """Who holds this session, if it is neither idle for 30 minutes nor older than 12 hours. Marks it as seen."""
    digest, at = session_digest(session_id), now()
    row = db.session.execute(
        select(UserSession, User).join(User, User.id == UserSession.user_id).where(UserSession.digest == digest)
    ).one_or_none()
    if row is None:
        return None
    kept, user = row
    staff = Staff(user.id, user.org_id, user.email, user.role)
    seen_at: datetime = kept.seen_at
    if user.disabled_at is not None or at - seen_at > IDLE or at - kept.created_at > LONGEST:
        with writing() as session:
            session.execute(delete(UserSession).where(UserSession.digest == digest))
        return None
    if at - seen_at >= _SEEN_EVERY:
        with writing() as session:
            if (again := session.get(UserSession, digest)) is not None:
                again.seen_at = at
    else:
        db.session.rollback()
    return staff


def log_out(session_id: str) -> None:
    """End a session; the cookie is worth nothing from now on."""
    with writing() as session:
        session.execute(delete(UserSession).where(UserSession.digest == session_digest(session_id)))


def session_digest(session_id: str) -> str:
    """What is stored of a session's secret id."""
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def _browser_place(browser: str) -> str:
    return f"browser:{hashlib.sha256(browser.encode('utf-8', 'surrogatepass')).hexdigest()}"


def network_of(ip: str | None) -> str:
    """An IPv6 customer owns at least a /64, so its addresses count as one."""
    if ip is None:
        return "unknown"
    address = ip_address(ip)
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))

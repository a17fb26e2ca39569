"""Coming and going of staff: passwords, the throttle on guessing, and sessions kept on the server.

The cookie holds a random id; the database its SHA-256. So a stolen database opens no session, and a deleted row ends
one at once. A failure is counted before the password is looked at, so that many tries at once cannot slip past.
"""

import hashlib
import secrets
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from ipaddress import ip_address, ip_network

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from flask import current_app
from sqlalchemy import delete, select

from shared.counters import LoginThrottle
from shared.models import Organization, User, UserSession
from webapp.actions import audit
from webapp.context import Actor, now
from webapp.db import db, writing

IDLE = timedelta(minutes=30)
LONGEST = timedelta(hours=12)
MAX_PASSWORD_BYTES = 1024
_SEEN_EVERY = timedelta(minutes=1)
_HASHER = PasswordHasher()


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """`session_id` is the secret for the cookie."""

    session_id: str

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


def hash_password(password: str) -> str:
    """argon2id with the library's parameters (RFC 9106, low-memory profile)."""
    return _HASHER.hash(password)


def fold_email(email: str) -> str:
    """One spelling for all that people type."""
    return unicodedata.normalize("NFKC", email).strip().casefold()


def log_in(email: str, password: str, ip: str | None) -> LoggedIn | Refused:
    """Check a password. Raises CountersUnavailable: without its throttle the door stays closed."""
    email = fold_email(email)
    name = f"{email} from {_network_of(ip)}"
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    if (wait := throttle.wait_seconds(name)) > 0:
        return Refused(wait, looked=False)
    wait = throttle.failed(name)
    user = db.session.scalar(select(User).where(User.email == email)) if len(email) <= 254 else None
    # The same work for a user who does not exist, so that the time tells nothing.
    dummy = _dummy_hash()
    if user is None:
        _matches(dummy, password)
        return _refuse(None, ip, wait)
    actor = Actor(user.org_id, user.email, ip, role=user.role)
    user_id, stored, disabled = user.id, user.password_hash, user.disabled_at is not None
    if not _matches(stored, password) or disabled:
        return _refuse((actor, user_id), ip, wait)
    throttle.cleared(name)
    if _HASHER.check_needs_rehash(stored):
        stored = hash_password(password)
    return LoggedIn(open_for(actor, user_id, password_hash=stored))


def _refuse(who: tuple[Actor, str] | None, ip: str | None, wait: float) -> Refused:
    """Note the failure. One without a user stands in the first organisation, and without what was typed."""
    if who is None:
        org_id = db.session.scalar(select(Organization.id).order_by(Organization.created_at).limit(1))
        who = (Actor(org_id, "nobody", ip), "unknown") if org_id is not None else None
    if who is not None:
        with writing() as session:
            audit(session, who[0], "login.refuse", who[1])
    return Refused(wait)


def open_for(actor: Actor, user_id: str, *, password_hash: str | None = None) -> str:
    """Begin a session for somebody whose password was checked; answers with its secret id. Clears away old ones."""
    session_id, at = secrets.token_urlsafe(32), now()
    with writing() as session:
        session.execute(delete(UserSession).where(UserSession.created_at < at - LONGEST))
        session.execute(delete(UserSession).where(UserSession.seen_at < at - IDLE))
        if password_hash is not None:
            session.get_one(User, user_id).password_hash = password_hash
        session.add(UserSession(digest=_digest(session_id), user_id=user_id, created_at=at, seen_at=at))
        audit(session, actor, "login.accept", user_id)
    return session_id


def open_session(session_id: str) -> Staff | None:
    """Who holds this session, if it is neither idle for 30 minutes nor older than 12 hours. Marks it as seen."""
    digest, at = _digest(session_id), now()
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
        session.execute(delete(UserSession).where(UserSession.digest == _digest(session_id)))


def _matches(stored: str, password: str) -> bool:
    try:
        if len(password.encode()) > MAX_PASSWORD_BYTES:
            password, stored = "", _dummy_hash()
        return _HASHER.verify(stored, password)
    except (VerificationError, InvalidHashError, UnicodeEncodeError):
        return False


@lru_cache(maxsize=1)
def _dummy_hash() -> str:
    return hash_password(secrets.token_urlsafe(32))


def _digest(session_id: str) -> str:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()


def _network_of(ip: str | None) -> str:
    """An IPv6 customer owns at least a /64, so its addresses count as one."""
    if ip is None:
        return "unknown"
    address = ip_address(ip)
    return str(address) if address.version == 4 else str(ip_network((address, 64), strict=False))

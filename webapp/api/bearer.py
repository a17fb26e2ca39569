"""Management tokens at the door of `/v1`."""

import logging
import math
import re
from datetime import datetime, timedelta

from flask import current_app, request
from sqlalchemy import select

from shared.counters import CountersUnavailable, Guarded, LoginThrottle
from shared.keys import MANAGEMENT_TAG, PROXY_TAG, digest, looks_like_ours
from shared.models import ManagementToken
from webapp.access import note_event
from webapp.actions.login import network_of
from webapp.api.problems import Problem
from webapp.context import Actor, now
from webapp.db import db, writing

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+(\S+)")
log = logging.getLogger(__name__)

# Where clients of the proxy carry its keys, and whoever guesses may try a token: not to be told apart from a guess.
_CARRIERS = ("Authorization", "X-Api-Key", "X-Goog-Api-Key")
# Nobody finds a token by guessing; this keeps the log and the database out of the reach of those who try.
_FREE_GUESSES, _LONGEST_WAIT_SECONDS = 100, 60.0
_USED_EVERY = timedelta(minutes=1)


def authenticate(ip: str | None, scope: str | None) -> Actor:
    """The holder of the token in `Authorization: Bearer`. Raises Problem 401, or 403 when `scope` is not among its."""
    match = _BEARER.fullmatch(request.headers.get("Authorization", "").strip())
    if match is None:
        needed = "Send a management token (sk-mgmt-...) as `Authorization: Bearer`."
        raise _refused(needed, ip) if any(name in request.headers for name in _CARRIERS) else _unknown(needed)
    raw = match[1].encode("utf-8", "surrogateescape")
    if not looks_like_ours(raw, MANAGEMENT_TAG):
        raise _refused(_wrong_kind(match[1]), ip)
    token = db.session.scalar(select(ManagementToken).where(ManagementToken.digest == digest(raw)))
    if token is None:
        raise _refused("This management token is not known here, or it was revoked.", ip)
    if token.revoked_at is not None:
        raise _refused("This management token is not known here, or it was revoked.", ip, token=token.id)
    if token.expires_at is not None and token.expires_at <= now():
        raise _refused("This management token has expired. Make a new one.", ip, token=token.id)
    actor = Actor(token.org_id, token.id, ip, scopes=frozenset(token.scopes))
    token_id, used_at = token.id, token.last_used_at
    db.session.rollback()
    _note_use(token_id, used_at)
    if scope is not None and scope not in actor.scopes:
        note_event("scope_refused", token=token_id, needs=scope)
        raise Problem(403, "insufficient_scope", f"This management token lacks the scope {scope}.")
    return actor


def _wrong_kind(text: str) -> str:
    if text.startswith(PROXY_TAG):
        return (
            "This is a proxy key: it opens the LLM endpoints of the proxy, not this address. "
            "Use a management token (sk-mgmt-...) here."
        )
    if text.startswith(MANAGEMENT_TAG):
        return "This management token is mistyped or cut off: its checksum does not match."
    return "This is not a management token. Use one that starts with sk-mgmt-."


def _unknown(detail: str) -> Problem:
    return Problem(401, "invalid_management_token", detail, headers={"WWW-Authenticate": "Bearer"})


def _refused(detail: str, ip: str | None, *, token: str | None = None) -> Problem:
    """The answer to what is no token: after many of them from one network it says to wait. A good one never has to."""
    note_event("token_refused", token=token)
    throttle: LoginThrottle = current_app.extensions["login_throttle"]
    guesses = Guarded(f"tokens from {network_of(ip)}", _FREE_GUESSES, _LONGEST_WAIT_SECONDS)
    try:
        tried = throttle.attempt([guesses])
    except CountersUnavailable as error:
        log.warning("wrong management tokens are not counted: %s", error)
        return _unknown(detail)
    if tried.admitted:
        return _unknown(detail)
    seconds = math.ceil(tried.wait_seconds)
    told = f"Too many wrong management tokens came from your network. Try again in {seconds} s. {detail}"
    return Problem(429, "too_many_attempts", told, headers={"Retry-After": str(seconds)})


def _note_use(token_id: str, used_at: datetime | None) -> None:
    """Remember the last use, to the minute: a write for every read would be dear."""
    at = now()
    if used_at is not None and at - used_at < _USED_EVERY:
        return
    with writing() as session:
        if (token := session.get(ManagementToken, token_id)) is not None:
            token.last_used_at = at

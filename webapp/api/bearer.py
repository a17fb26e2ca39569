"""Management tokens at the door of `/v1`."""

import re
from datetime import datetime, timedelta

from flask import request
from sqlalchemy import select

from shared.keys import MANAGEMENT_TAG, PROXY_TAG, digest, looks_like_ours
from shared.models import SCOPES, ManagementToken
from webapp.access import EVERY_SCOPE
from webapp.api.problems import Problem
from webapp.context import Actor, now
from webapp.db import db, writing

_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr][ \t]+(\S+)")
_USED_EVERY = timedelta(minutes=1)


def authenticate(ip: str | None, scope: str | None) -> Actor:
    """The holder of the token in `Authorization: Bearer`. Raises Problem 401, or 403 when `scope` is not among its.

    For EVERY_SCOPE all of them have to be.
    """
    match = _BEARER.fullmatch(request.headers.get("Authorization", "").strip())
    if match is None:
        raise _unknown("Send a management token (sk-mgmt-...) as `Authorization: Bearer`.")
    raw = match[1].encode("utf-8", "surrogateescape")
    if not looks_like_ours(raw, MANAGEMENT_TAG):
        raise _unknown(_wrong_kind(match[1]))
    token = db.session.scalar(select(ManagementToken).where(ManagementToken.digest == digest(raw)))
    if token is None or token.revoked_at is not None:
        raise _unknown("This management token is not known here, or it was revoked.")
    actor = Actor(token.org_id, token.prefix, ip, scopes=frozenset(token.scopes))
    token_id, used_at = token.id, token.last_used_at
    db.session.rollback()
    _note_use(token_id, used_at)
    wanted = SCOPES if scope == EVERY_SCOPE else () if scope is None else (scope,)
    if lacking := [name for name in wanted if name not in actor.scopes]:
        raise Problem(
            403, "insufficient_scope", f"This management token lacks the scope {' and the scope '.join(lacking)}."
        )
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


def _note_use(token_id: str, used_at: datetime | None) -> None:
    """Remember the last use, to the minute: a write for every read would be dear."""
    at = now()
    if used_at is not None and at - used_at < _USED_EVERY:
        return
    with writing() as session:
        if (token := session.get(ManagementToken, token_id)) is not None:
            token.last_used_at = at

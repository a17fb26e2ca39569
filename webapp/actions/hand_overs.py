"""Handing a key's secret over: a link shows it once, within a day, to whoever opens it first.

The secret is sealed until then, and forgotten in the transaction that gives it out: of two who ask at the same moment
one gets it. What opens the link is random and kept as a digest alone. A link leads to a question, and only its answer
is the secret, because programs that look at links beforehand open them too.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import current_app
from flask_sqlalchemy.session import Session
from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import scoped_session

from shared.ids import new_id
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import HandOver, KeySecret, ProxyKey
from shared.sealing import Sealer, UnsealError
from webapp.actions import audit
from webapp.actions.hand_over_links import end_links
from webapp.actions.keys import row_to_change
from webapp.actions.link_guesses import count_guess
from webapp.context import Actor, Conflict, now
from webapp.db import db, writing
from webapp.events import EVENTS
from webapp.schemas.hand_overs import NewHandOver
from webapp.schemas.values import to_json_moment
from webapp.validation import FieldError, Invalid, read
from webapp.views.hand_overs import HandOverView, row_of, view_of
from webapp.views.keys import KeyView
from webapp.views.keys import row_of as key_row_of
from webapp.views.keys import view_of as key_view_of

log = logging.getLogger(__name__)

GOOD_FOR = timedelta(hours=24)
HOLDER = "holder of the link"  # as the audit log calls whoever opens one
GONE = "gone"
SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class CreatedHandOver:
    """A link, and what opens it at the only moment that it can be seen."""

    view: HandOverView
    token: str

    def __repr__(self) -> str:
        return f"CreatedHandOver({self.view.id})"


@dataclass(frozen=True, slots=True)
class Revealed:
    """A key and its secret, for whoever opened the link."""

    key: KeyView
    secret: str
    told: Mapping[str, Any]  # what the page says beside it

    def __repr__(self) -> str:
        return f"Revealed({self.key.prefix}...)"


Tell = Callable[[str, KeyView, str], Mapping[str, Any]]  # of an organisation's id, its key and the secret


def hand_over(actor: Actor, key_id: str, document: Mapping[str, object]) -> CreatedHandOver:
    """Make a link that shows this secret of a key once, in the place of the key's earlier link.

    Raises NotFound, Invalid for what is no secret that opens the key now, Conflict "key_revoked".
    """
    secret = read(NewHandOver, document).key
    sealer = Sealer(current_app.extensions["settings"].encryption_keys)
    token, at = secrets.token_urlsafe(32), now()
    with writing() as session:
        key = row_to_change(actor, key_id, None)
        found = session.scalar(select(KeySecret).where(*_opens(key_id, secret)))
        if found is None:
            raise Invalid(FieldError("key", "is not a secret that opens this key"))
        end_links(session, actor, key_id)
        row = HandOver(id=new_id("hov"), org_id=actor.org_id, key_id=key_id, digest=digest(token.encode()))
        row.sealed, row.prefix = sealer.seal(secret), found.prefix or key.prefix
        row.created_at, row.created_by, row.expires_at = at, actor.name, at + GOOD_FOR
        session.add(row)
        told = {"link": row.id, "prefix": row.prefix, "expires_at": to_json_moment(row.expires_at)}
        audit(session, actor, "key.hand_over", key_id, after=told)
        view = view_of(row)
    return CreatedHandOver(view, token)


def end_hand_over(actor: Actor, key_id: str, hand_over_id: str) -> HandOverView:
    """Make a link worth nothing, and forget the secret behind it. Raises NotFound."""
    with writing() as session:
        row = row_of(actor.org_id, key_id, hand_over_id)
        view = view_of(row)
        audit(session, actor, "key.hand_over_end", key_id, before={"link": row.id, "prefix": row.prefix})
        session.delete(row)
    return view


def note_guess(ip: str | None) -> None:
    """Note that somebody opened a link that there is none of. Raises Conflict "throttled" after many of them."""
    EVENTS.note("hand_over_unknown", ip=ip)
    count_guess(ip)


def reveal(token: str, ip: str | None, tell: Tell) -> Revealed:
    """The secret behind a link, this once; the link opens nothing from now on. Raises Conflict "gone", "sealed".

    `tell` reads whatever else the page needs, before the secret is forgotten.
    """
    sealer, at = Sealer(current_app.extensions["settings"].encryption_keys), now()
    opened = digest(token.encode("utf-8", "surrogatepass"))
    query = select(HandOver).where(HandOver.digest == opened, HandOver.expires_at > at)
    # All that can fail comes first: what is given out once must not be lost on the way.
    found = db.session.scalar(query)
    view = None if found is None else key_view_of(key_row_of(found.org_id, found.key_id))
    db.session.rollback()
    with writing() as session:
        row = session.scalar(query.with_for_update())
        if row is None or view is None:
            raise Conflict(GONE, "This link opens nothing.")
        secret = _unsealed(sealer, row)
        if not _still_opens(row.key_id, secret):
            raise Conflict(GONE, "This link opens nothing.")
        said = tell(row.org_id, view, secret)
        org_id, key_id = row.org_id, row.key_id
        told = {"link": row.id, "prefix": row.prefix, "made_by": row.created_by}
        audit(session, Actor(org_id, HOLDER, ip), "key.hand_over_seen", key_id, after=told)
        session.delete(row)
    return Revealed(view, secret, said)


def _opens(key_id: str, secret: str) -> tuple[ColumnElement[bool], ...]:
    living = or_(KeySecret.valid_until.is_(None), KeySecret.valid_until > now())
    return KeySecret.key_id == key_id, KeySecret.digest == digest(secret.encode()), living


def _still_opens(key_id: str, secret: str) -> bool:
    """Whether it is worth anything: its key was not revoked meanwhile, and it was not rotated out."""
    query = select(ProxyKey.id).join(KeySecret).where(*_opens(key_id, secret), ProxyKey.revoked_at.is_(None))
    return db.session.scalar(query) is not None


def reseal_hand_overs(session: scoped_session[Session], sealer: Sealer) -> tuple[int, int]:
    """Seal what older keys sealed with the first one; how many there were, and how many no key opens."""
    resealed = lost = 0
    for row in session.scalars(select(HandOver).order_by(HandOver.id).with_for_update()):
        if sealer.is_current(row.sealed):
            continue
        try:
            row.sealed = sealer.seal(sealer.unseal(row.sealed))
            resealed += 1
        except UnsealError:
            lost += 1
    return resealed, lost


def _unsealed(sealer: Sealer, row: HandOver) -> str:
    """Raises Conflict "gone" for what is empty by now, and "sealed" where the key that opens it was taken away."""
    try:
        secret = sealer.unseal(row.sealed)
    except UnsealError:
        if row.sealed:
            raise Conflict(SEALED, "Nobody can open what lies behind this link any more.") from None
        secret = ""
    if not looks_like_ours(secret.encode(), PROXY_TAG):
        raise Conflict(GONE, "This link opens nothing.")
    return secret

"""Which keys a list is about, as conditions of SQL."""

import unicodedata
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, String, and_, case, cast, func, literal_column, or_, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from shared import periods
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import KeyNearLimit, KeySecret, KeySpend, KeyTag, ProxyKey, Refusal
from webapp.db import db
from webapp.schemas.lists import KeyQuery
from webapp.schemas.provider_names import IN_PATTERNS
from webapp.views.attention import BLOCKING, DORMANT, LATELY, LONGEST_BLOCK, NEAR_PERCENT, SOON

_PREFIX_LENGTH = len(PROXY_TAG) + 4
_LAST = chr(0x10FFFF)

Condition = ColumnElement[bool]

# As the indexes of such keys have them, word for word: else a database would not know that they hold all it wants.
LIVE: Condition = ProxyKey.revoked_at.is_(None)
REVOKED: Condition = ProxyKey.revoked_at.is_not(None)
PAUSED: Condition = and_(ProxyKey.paused.is_(True), LIVE)
UNUSED: Condition = and_(ProxyKey.last_used_at.is_(None), LIVE)
_CAPPED: Condition = ProxyKey.spend_limit_nanos.is_not(None)
_LIMITS = func.json_array_length(ProxyKey.model_limits)
_NONE: ColumnElement[int] = literal_column("0")  # a parameter would not be word for word
LIMITED: Condition = or_(_CAPPED, _LIMITS > _NONE)  # these two with LIVE
UNLIMITED: Condition = and_(
    ProxyKey.spend_limit_nanos.is_(None), or_(ProxyKey.model_limits.is_(None), _LIMITS == _NONE)
)


def filters_of(asked: KeyQuery, at: datetime, zone: str | None) -> list[Condition]:
    """All of them but for the organisation, as of the moment `at`; its periods begin in `zone`."""
    wanted: list[Condition] = []
    if asked.status:
        wanted.append(or_(*(_in_state(status, at) for status in asked.status)))
    if text := searched(asked):
        wanted.append(_found_by(text))
    if asked.provider is not None:
        # The lists are JSON; a provider's name has nothing in it that JSON writes otherwise.
        listed = cast(ProxyKey.allowed_providers, String)
        wanted.append(or_(listed == "[]", listed.contains(f'"{asked.provider}"', autoescape=True)))
    if asked.tag is not None:
        wanted.append(_has_tag(KeyTag.tag == asked.tag))
    if asked.created_by is not None:
        wanted.append(ProxyKey.created_by == asked.created_by)
    if asked.has_limit is not None:
        wanted.append(LIMITED if asked.has_limit else UNLIMITED)
    if asked.active_alone:
        wanted.append(_in_state("active", at))
    if asked.dormant:
        wanted.append(_unused_for_long(at))
    if asked.expiring:
        wanted.append(_expires_soon(at))
    if asked.near_limit:
        wanted.append(_near_limit(at, zone))
    if asked.refused:
        wanted.append(_refused_lately(at))
    if asked.attention:
        wanted.append(_wants_attention(at, zone))
    return wanted


def searched(asked: KeyQuery) -> str:
    """The text that is looked for; empty: none is."""
    return unicodedata.normalize("NFC", asked.q or "").strip()  # as names are stored


def is_secret(text: str) -> bool:
    return looks_like_ours(text.encode("utf-8", "surrogatepass"), PROXY_TAG)


def opened_by(secret: str) -> ColumnElement[bool]:
    return KeySecret.digest == digest(secret.encode())


def beginning(text: str) -> str:
    """What of a text a prefix could begin with: of a longer secret no more stands in a prefix."""
    return text[:_PREFIX_LENGTH] if text.startswith(PROXY_TAG) else text


def _in_state(status: str, at: datetime) -> Condition:
    """As `ProxyKey.status` derives it."""
    if status == "revoked":
        return REVOKED
    if status == "expired":
        return and_(LIVE, ProxyKey.expires_at <= at)
    alive = or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at)
    return and_(LIVE, alive, ProxyKey.paused.is_(status == "paused"))


def _found_by(text: str) -> Condition:
    """Part of a name or of a model's pattern, or the beginning of a prefix, a tag or an owner's address.

    A whole secret finds its key.
    """
    if is_secret(text):
        return ProxyKey.id.in_(select(KeySecret.key_id).where(opened_by(text)))
    found = [
        _named(text),
        ProxyKey.prefix.startswith(beginning(text), autoescape=True),
        _has_tag(begins(KeyTag.tag, text)),
        begins(ProxyKey.owner_email, text),
    ]
    if IN_PATTERNS.fullmatch(text):  # the list is JSON, whose own signs are in no pattern
        found.append(cast(ProxyKey.allowed_models, String).icontains(text, autoescape=True))
    return or_(*found)


def _named(text: str) -> Condition:
    """Whether a name has the text in it, in capitals or not."""
    if text.isascii() or db.engine.dialect.name != "sqlite":
        return ProxyKey.name.icontains(text, autoescape=True)
    # SQLite's LIKE and lower() know the letters of ASCII alone; its GLOB takes a choice of any characters.
    return ProxyKey.name.op("GLOB", is_comparison=True)(f"*{''.join(map(_either_case, text))}*")


def _either_case(character: str) -> str:
    """A character for GLOB, in small or in capital letters as far as each is one character."""
    cases = {one for one in (character, character.lower(), character.upper()) if len(one) == 1}
    return f"[{''.join(sorted(cases))}]" if len(cases) > 1 or character in "*?[" else character


def begins(column: InstrumentedAttribute[Any], text: str) -> Condition:
    """Whether a text in small letters begins so, as a place in an index: such texts are in the order of code points."""
    beginning_of = text.lower()
    return and_(column >= beginning_of, column < beginning_of + _LAST)


def _has_tag(wanted: Condition) -> Condition:
    return select(1).where(KeyTag.key_id == ProxyKey.id, wanted).exists()


def _unused_for_long(at: datetime) -> Condition:
    return func.coalesce(ProxyKey.last_used_at, ProxyKey.created_at) <= at - DORMANT


def _wants_attention(at: datetime, zone: str | None) -> Condition:
    """Keys that work and will not for long, that somebody is refused with, that nobody uses, or that may spend all."""
    refused = (_refused_lately(at), _blocked(at))
    return or_(UNLIMITED, _expires_soon(at), _unused_for_long(at), *refused, _near_limit(at, zone))


def _expires_soon(at: datetime) -> Condition:
    return and_(ProxyKey.expires_at > at, ProxyKey.expires_at <= at + SOON)


def _refused_lately(at: datetime) -> Condition:
    return select(1).where(Refusal.key_id == ProxyKey.id, Refusal.last_at >= at - LATELY).exists()


def _blocked(at: datetime) -> Condition:
    """For a reason that lasts, with nothing gone through since."""
    refused = (Refusal.key_id == ProxyKey.id, Refusal.reason.in_(BLOCKING), Refusal.last_at >= at - LONGEST_BLOCK)
    nothing_since = or_(ProxyKey.last_used_at.is_(None), ProxyKey.last_used_at < Refusal.last_at)
    return select(1).where(*refused, nothing_since).exists()


def _near_limit(at: datetime, zone: str | None) -> Condition:
    marked = select(1).where(KeyNearLimit.key_id == ProxyKey.id).exists()  # which saves adding up what most have spent
    # The mark is made by the limit alone: who is near the raised one is near that, and when the raise ends it is right.
    return and_(_CAPPED, marked, _spent(at, zone) * 100 >= limit_at(at) * NEAR_PERCENT)


def limit_at(at: datetime) -> ColumnElement[int]:
    """The spend limit of a key that has one, with a raise that runs: as `shared.models.limit_of`."""
    raised = func.coalesce(ProxyKey.spend_limit_boost_nanos, 0)
    limit: ColumnElement[int] = func.coalesce(ProxyKey.spend_limit_nanos, 0)
    return limit + case((ProxyKey.spend_limit_boost_until > at, raised), else_=0)


def _spent(at: datetime, zone: str | None) -> ColumnElement[int]:
    """What the ledger has of a key's running period."""
    starts, ends = [], []
    for reset in ("daily", "weekly", "monthly"):
        start, end = periods.period_of(reset, at.timestamp(), zone)
        assert end is not None  # noqa: S101 - of these each has one
        starts.append((ProxyKey.spend_reset == reset, start))
        ends.append((ProxyKey.spend_reset == reset, end - timedelta(days=1)))
    spend = aliased(KeySpend)  # the list itself may be sorted by the other
    # As one range of days, which is how the rows of a key are in order. Of one that never resets the first has all.
    first, last = (case(*days, else_=periods.FIRST_DAY) for days in (starts, ends))
    within = spend.day.between(first, last)
    total = select(func.coalesce(func.sum(spend.total_nanos), 0)).where(spend.key_id == ProxyKey.id, within)
    return total.scalar_subquery()

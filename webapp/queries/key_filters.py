"""Which keys a list is about, as conditions of SQL."""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, String, and_, case, cast, func, or_, select
from sqlalchemy.orm import aliased

from shared import periods
from shared.keys import PROXY_TAG, digest, looks_like_ours
from shared.models import KeySecret, KeySpend, ProxyKey
from webapp.queries.key_traits import traits_of
from webapp.schemas.lists import KeyQuery

DORMANT = timedelta(days=30)
SOON = timedelta(days=7)
NEAR_PERCENT = 80
_PREFIX_LENGTH = len(PROXY_TAG) + 4

Condition = ColumnElement[bool]


def filters_of(asked: KeyQuery, at: datetime) -> list[Condition]:
    """All of them but for the organisation, as of the moment `at`."""
    wanted: list[Condition] = []
    if asked.status:
        wanted.append(or_(*(_in_state(status, at) for status in asked.status)))
    if asked.q and (text := asked.q.strip()):
        wanted.append(_found_by(text))
    if asked.provider is not None:
        # The lists are JSON; a provider's name has nothing in it that JSON writes otherwise.
        listed = cast(ProxyKey.allowed_providers, String)
        wanted.append(or_(listed == "[]", listed.contains(f'"{asked.provider}"', autoescape=True)))
    if asked.created_by is not None:
        wanted.append(ProxyKey.created_by == asked.created_by)
    if asked.attention:
        wanted.append(_wants_attention(at))
    return [*wanted, *traits_of(asked, at)]


def _in_state(status: str, at: datetime) -> Condition:
    """As `ProxyKey.status` derives it."""
    if status == "revoked":
        return ProxyKey.revoked_at.is_not(None)
    if status == "expired":
        return and_(ProxyKey.revoked_at.is_(None), ProxyKey.expires_at <= at)
    alive = or_(ProxyKey.expires_at.is_(None), ProxyKey.expires_at > at)
    return and_(ProxyKey.revoked_at.is_(None), alive, ProxyKey.paused.is_(status == "paused"))


def _found_by(text: str) -> Condition:
    """Part of a name or of a model's pattern, or the beginning of a prefix; a whole secret finds its key."""
    if looks_like_ours(text.encode("utf-8", "surrogatepass"), PROXY_TAG):
        opened = select(KeySecret.key_id).where(KeySecret.digest == digest(text.encode()))
        return ProxyKey.id.in_(opened)
    start = text[:_PREFIX_LENGTH] if text.startswith(PROXY_TAG) else text
    return or_(
        ProxyKey.name.icontains(text, autoescape=True),
        ProxyKey.prefix.startswith(start, autoescape=True),
        cast(ProxyKey.allowed_models, String).icontains(text, autoescape=True),
    )


def _wants_attention(at: datetime) -> Condition:
    """Keys that work and will not for long, or that nobody uses: what somebody should look at."""
    expires_soon = and_(ProxyKey.expires_at > at, ProxyKey.expires_at <= at + SOON)
    last_seen = func.coalesce(ProxyKey.last_used_at, ProxyKey.created_at)
    limit = ProxyKey.spend_limit_nanos
    near_limit = _spent(at) * 100 >= limit * NEAR_PERCENT
    return and_(_in_state("active", at), or_(expires_soon, last_seen <= at - DORMANT, near_limit))


def _spent(at: datetime) -> ColumnElement[int]:
    """What the ledger has of a key's running period."""
    starts = [
        (ProxyKey.spend_reset == reset, periods.period_of(reset, at.timestamp())[0])
        for reset in ("daily", "weekly", "monthly")
    ]
    spend = aliased(KeySpend)  # the list itself may be sorted by the other
    days = and_(spend.day != periods.FIRST_DAY, spend.day >= case(*starts, else_=periods.FIRST_DAY))
    ever = spend.day == periods.FIRST_DAY
    within = case((ProxyKey.spend_reset == "never", ever), else_=days)
    total = select(func.coalesce(func.sum(spend.total_nanos), 0)).where(spend.key_id == ProxyKey.id, within)
    return total.scalar_subquery()

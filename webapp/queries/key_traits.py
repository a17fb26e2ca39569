"""Which keys a list is about, by what each of them is: with or without a limit, used or not."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import ColumnElement, func

from shared.models import ProxyKey
from webapp.schemas.lists import KeyQuery
from webapp.views.attention import DORMANT


def traits_of(asked: KeyQuery, at: datetime) -> Iterator[ColumnElement[bool]]:
    """As conditions of SQL, as of the moment `at`."""
    if asked.has_limit is not None:
        limit = ProxyKey.spend_limit_nanos
        yield limit.is_not(None) if asked.has_limit else limit.is_(None)
    if asked.dormant:
        yield func.coalesce(ProxyKey.last_used_at, ProxyKey.created_at) <= at - DORMANT

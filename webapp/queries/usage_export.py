"""What every key of an organisation used, one after the other: for files, however many keys there are."""

from collections.abc import Iterator
from datetime import date

from sqlalchemy import func, select

from shared.models import UsageDaily
from webapp.db import db
from webapp.queries.top_keys import names_of
from webapp.queries.usage import UsageLine, line_of, sums_of

KEYS_AT_ONCE = 1_000


def usage_of_all_keys(org_id: str, first: date, last: date) -> Iterator[tuple[str, UsageLine]]:
    """The name and the sums of each key that used something, in the order of ids, which is that of their making.

    Some keys at a time, each time in a transaction of its own: what is posted meanwhile may be in it or not, and nobody
    waits for a reader that is slow.
    """
    # No index has the organisation or the day as they stand here, so that databases walk along the keys.
    day = func.coalesce(UsageDaily.day, UsageDaily.day)
    mine = (UsageDaily.org_id.concat("") == org_id, day >= first, day <= last)
    query = select(UsageDaily.key_id, *sums_of(UsageDaily)).where(*mine).group_by(UsageDaily.key_id)
    reached = ""
    while True:
        some = query.where(UsageDaily.key_id > reached).order_by(UsageDaily.key_id).limit(KEYS_AT_ONCE)
        lines = [line_of(*row) for row in db.session.execute(some)]
        names = names_of(org_id, [line.group for line in lines])
        db.session.rollback()
        for line in lines:
            yield names.get(line.group, ""), line
        if len(lines) < KEYS_AT_ONCE:
            return
        reached = lines[-1].group

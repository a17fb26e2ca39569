"""What was used, written as the ledger writer does: daily sums of keys, and what keys cost on a day and in all."""

import re
from datetime import date
from typing import Any

from sqlalchemy import select

from shared.models import KeySpend, UsageDaily
from shared.periods import FIRST_DAY
from webapp.db import writing

TODAY = date(2026, 11, 24)  # of the clock of the tests


def use(
    org_id: str,
    key_id: str,
    nanos: int,
    day: date = TODAY,
    *,
    provider: str = "openai",
    model: str = "gpt-4o",
    **sums: int,
) -> None:
    """One more daily sum of a key. Inside an app's context."""
    counts = {"requests": 1, "input_tokens": 10, "output_tokens": 2, **sums}
    with writing() as session:
        session.add(
            UsageDaily(
                key_id=key_id, org_id=org_id, day=day, provider=provider, model=model, cost_nanos=nanos, **counts
            )
        )
        for place in (FIRST_DAY, day) if nanos else ():  # what cost nothing has no row there
            row: Any = session.scalar(select(KeySpend).where(KeySpend.key_id == key_id, KeySpend.day == place))
            if row is None:
                row = KeySpend(key_id=key_id, day=place, generation=0, base_nanos=0, total_nanos=0)
                session.add(row)
            row.total_nanos += nanos


def figure(page: str, title: str) -> str:
    """What the card with this title says: its figure, and what stands below it."""
    found = re.search(rf'id="{title}".*?<a class="figure"[^>]*>(.*?)</a>\s*<p[^>]*>(.*?)</p>', page, re.DOTALL)
    assert found is not None
    return " / ".join(re.sub(r"<[^>]+>", "", part).strip() for part in found.groups())

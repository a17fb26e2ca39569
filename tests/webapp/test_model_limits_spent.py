"""What counts against limits for models by the ledger's sums: no more of them is read than a running period needs."""

from datetime import UTC, date, datetime

from flask import Flask
from key_rows_kit import posted
from sqlalchemy import event

from shared.model_limits import ModelLimit
from shared.models import ModelSpend
from shared.periods import FIRST_DAY
from webapp.db import db
from webapp.views.model_limits import spent_by_ledger


def test_it_works(app: Flask) -> None:
    """Not all that a key has ever cost: of days before, no limit asks."""
    at = datetime(2026, 11, 24, 12, tzinfo=UTC)
    today, before = date(2026, 11, 24), date(2026, 11, 1)
    days = {FIRST_DAY: 1_000, date(2026, 10, 31): 500, before: 300, today: 20}
    posted(
        app,
        *(
            ModelSpend(
                key_id="key_1",
                day=day,
                provider="openai",
                model="gpt-4o",
                generation=0,
                base_nanos=0,
                total_nanos=nanos,
            )
            for day, nanos in days.items()
        ),
    )
    read: list[int] = []
    with app.app_context():
        event.listen(db.engine, "before_cursor_execute", lambda *told: read.append(len(told[3])))

        def spent(*resets: str) -> list[int]:
            limits = [ModelLimit(str(n), "gpt-*", 9, reset, 0) for n, reset in enumerate(resets)]
            return list(spent_by_ledger({"key_1": limits}, {"key_1": None}, at).values())

        assert spent("never") == [1_000]
        assert spent("never", "monthly", "daily") == [1_000, 320, 20]
        assert spent("daily") == [20]
        assert spent("weekly") == [20]
    assert list(filter(None, read)) == [2, 3, 3, 3], "nor the days, where no limit resets"

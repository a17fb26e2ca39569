"""What becomes of an END whose attempt was already charged as an estimate, because a copy of its journal was imported.

The row of the estimate stays as it is. An adjustment beside it carries what is known now and costs the difference, so
that both together come to the true cost. Whatever was booked by an END of its own is never adjusted.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, or_, select

from proxyd.accounting.ledger_rows import COLUMNS, LABELLED, Line, Posting, posting
from proxyd.accounting.records import Attempt, Settlement
from shared.models import UsageRecord

FLAG = "adjustment"
_SOME = 500  # ids in one question
_BOOKED = select(UsageRecord.id, UsageRecord.adjusts, UsageRecord.outcome, UsageRecord.cost_nanos).where(
    or_(
        UsageRecord.id.in_(bindparam("ids", expanding=True)),
        UsageRecord.adjusts.in_(bindparam("ids", expanding=True)),
    )
)
_ASKED_MODEL = COLUMNS.index("requested_model")
_REQUESTS = LABELLED.index("requests")
_UNSENT = Settlement(
    status=None, outcome="unsent", flags=(), usage={}, served_model=None, service_tier=None, price=None, cost_nanos=0,
    duration_ms=0, provider_request_id=None,
)  # fmt: skip

# An attempt and how it ended; None: nothing of it was sent.
Ended = tuple[Attempt, Settlement | None]


class Booked(NamedTuple):
    """What the ledger has of an attempt."""

    cost_nanos: int  # of all its rows
    estimated: bool  # no END of its own was booked yet
    rows: int


class Adjustment(NamedTuple):
    """A row to be written: what is known now, and what it costs more than was booked."""

    attempt: Attempt  # with the id of the row
    settlement: Settlement  # whose cost is the difference
    adjusts: str  # the id of the attempt


class Corrections(NamedTuple):
    """What some ENDs add to a ledger that has estimates of some of them."""

    fresh: list[Line]
    adjustments: list[Adjustment]


def corrections(connection: Connection, ended: Sequence[Ended]) -> Corrections:
    """Each END compared with what stands there of its attempt. Raises SQLAlchemyError."""
    booked = _booked(connection, [attempt.id for attempt, _ in ended])
    found = Corrections([], [])
    for attempt, settlement in ended:
        known = booked.get(attempt.id)
        if known is None:
            if settlement is not None:
                found.fresh.append((attempt, settlement))
        elif known.estimated and (adjustment := _adjustment(attempt, settlement or _UNSENT, known)) is not None:
            found.adjustments.append(adjustment)
    return found


def _booked(connection: Connection, ids: Sequence[str]) -> Mapping[str, Booked]:
    found: dict[str, Booked] = {}
    for first in range(0, len(ids), _SOME):
        for id_, adjusts, outcome, cost_nanos in connection.execute(_BOOKED, {"ids": ids[first : first + _SOME]}):
            before = found.get(adjusts or id_, Booked(0, estimated=True, rows=0))
            found[adjusts or id_] = Booked(
                before.cost_nanos + cost_nanos, before.estimated and outcome == "crash", before.rows + 1
            )
    return found


def _adjustment(attempt: Attempt, settlement: Settlement, known: Booked) -> Adjustment | None:
    """None where a second estimate says what the first one did."""
    difference = settlement.cost_nanos - known.cost_nanos
    if settlement.outcome == "crash" and not difference:
        return None
    return Adjustment(
        attempt._replace(id=f"{attempt.id}+{known.rows}"),
        settlement._replace(cost_nanos=difference, flags=(FLAG, *settlement.flags)),
        attempt.id,
    )


def adjusting(adjustment: Adjustment, generation: int, zone: str, by_model: Collection[str]) -> Posting:
    """The row and sums of an adjustment: no request more, and in the sums in which the estimate is.

    Its row has what it adjusts behind all else.
    """
    found = posting([(adjustment.attempt, adjustment.settlement)], generation, zone, by_model)
    asked_model = found.rows[0][_ASKED_MODEL] or ""  # an estimate knows of no other
    key_id, day, provider, _, org_id, _, *amounts = found.daily[0]
    return found._replace(
        rows=[(*found.rows[0], adjustment.adjusts)],
        daily=[(key_id, day, provider, asked_model, org_id, 0, *amounts)],
        labelled=[(*row[:_REQUESTS], 0, *row[_REQUESTS + 1 :]) for row in found.labelled],
    )

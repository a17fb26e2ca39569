"""Whom a worker's last batch admitted, as its row tells it: for the batch whose answer was lost, or whose worker died.

It is written with each batch, so it is short and mostly as long as the one before: SQLite then writes it over that
one, and has no pages to give back and to take anew.
"""

from collections.abc import Collection, Mapping, Sequence

import orjson

from shared.counters.moments import Moment
from shared.counters.values import Admitted, Batch, Charge, Decision, Hold, LastAdmitted, Stale
from shared.model_limits import rows_of

_STEP_BYTES = 128  # lengths are multiples of this


def encode(
    moment: Moment,
    charges: Sequence[Charge],
    decisions: Sequence[Decision],
    admitted: Mapping[str, Sequence[int]],
    tracked: Collection[str],
) -> bytes:
    """`admitted`: indices of charges, by key. `tracked`: the organisations that have a row of their own."""
    groups: list[list[str | int]] = []
    orgs: list[str] = []  # of the keys, where any has such a row
    limits: list[tuple[int, tuple[str, ...]]] = []  # the rows of limits for models, of those that count against any
    days: dict[str, int] = {}  # by index, of charges whose zone has another one
    for key_id, indices in admitted.items():
        if tracked:
            org_id = charges[indices[0]].org_id
            orgs.append(org_id if org_id in tracked else "")
        group: list[str | int] = [key_id]
        for index in indices:
            group += (index, charges[index].seq, charges[index].bound_nanos)
            charge = charges[index]
            if charge.model_limits:
                limits.append((index, rows_of(charge.model_limits)))
            if charge.zone is not None:
                decision = decisions[index]
                if isinstance(decision, Admitted) and decision.day != moment.day:
                    days[str(index)] = decision.day
        groups.append(group)
    told = moment.day, moment.second, groups, orgs
    data = orjson.dumps((*told, limits, days) if limits or days else told)
    return data.ljust(-len(data) // _STEP_BYTES * -_STEP_BYTES)


def held(data: bytes) -> list[LastAdmitted]:
    """What it holds, in the order of the charges."""
    _, found = _decode(data)
    return [
        LastAdmitted(seq, Hold(key_id, day, nanos, 1, org_id, limits))
        for _, seq, key_id, nanos, org_id, limits, day in found
    ]


def decisions(data: bytes, batch: Batch) -> list[Decision]:
    """Of a batch whose answer was lost. What was refused then consumed nothing and may ask anew.

    Whoever repeats a batch may leave its charges out: then nothing new is admitted if it had not been applied.
    """
    second, found = _decode(data)
    before = {index: Admitted(day, second) for index, *_, day in found}
    asked = max([len(batch.charges), *(index + 1 for index in before)])
    return [before.get(index, Stale()) for index in range(asked)]


def _decode(data: bytes) -> tuple[int, list[tuple[int, int, str, int, str, tuple[str, ...], int]]]:
    """The steady second of the batch; index, seq, key, nanos, organisation, rows of limits and day of each."""
    day, second, groups, orgs, *more = orjson.loads(data) or (0, 0, [], [])
    limits = {index: tuple(rows) for index, rows in more[0]} if more else {}
    days = more[1] if more else {}
    found = [
        (index, seq, key_id, nanos, org_id, limits.get(index, ()), days.get(str(index), day))
        for (key_id, *rest), org_id in zip(groups, orgs or [""] * len(groups), strict=True)
        for index, seq, nanos in zip(rest[::3], rest[1::3], rest[2::3], strict=True)
    ]
    return second, sorted(found)

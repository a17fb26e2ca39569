"""Judging charges and booking what became of them: on the rows of a key, its limits for models and its organisation.

Counters keep a row for those organisations that had limits when they were made, for all that the keys of such a one do,
whatever its limits are by now. So its row is as exact as that of a key. One that gets its first limit later has none
yet: nothing is judged by half of what was used, and new counters are asked for (docs/decisions). So it is with a limit
for models: each tells since which generation all that counts against it is booked.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from limits.limits import RateLimitItem
from msgspec.structs import replace

from shared.counters.moments import BatchContext
from shared.counters.rate import per_minute
from shared.counters.rows import KeyRow
from shared.counters.transaction import Transaction
from shared.counters.values import (
    Admitted,
    Charge,
    Decision,
    End,
    Hold,
    ModelRefused,
    RateBucket,
    RateLimited,
    Rebuilding,
    Unseeded,
)

Rows = dict[str, KeyRow]
Hit = Callable[[RateLimitItem, str], bool]  # counts a request of a key, or of an organisation, if it fits


def decide(
    tx: Transaction, rows: Rows, charges: Sequence[Charge], context: BatchContext, hit: Hit
) -> tuple[list[Decision], dict[str, list[int]]]:
    """The decisions, and the indices of the admitted by key. What was refused has consumed nothing."""
    decisions: list[Decision] = []
    admitted: dict[str, list[int]] = {}
    orgs, tracked, here = tx.state.orgs, tx.state.tracked, context
    elsewhere: dict[str, BatchContext] = {}  # by zone
    read = partial(tx.row, rows)
    for index, charge in enumerate(charges):
        key_id = charge.key_id
        row = rows.get(key_id) or tx.row(rows, key_id)
        if (zone := charge.zone) is None:
            context = here
        else:
            context = elsewhere.get(zone) or elsewhere.setdefault(zone, here.in_zone(zone))
        decision: Decision | None = None
        if charge.org_version != orgs.get(charge.org_id):
            decision = tx.decide_org(charge, context)
        decision = decision or row.decide(charge, context)
        if decision is None and charge.model_limits:
            decision = decide_models(row, charge, context, rows, read)
        if decision is None and charge.organization is not None:
            decision = _decide_shared(tx, rows, charge, context)
        if decision is None:
            if hit(per_minute(charge.rate_limit_rpm), key_id):
                decision = row.admitted(charge, context)
                admitted.setdefault(key_id, []).append(index)
                for limit in charge.model_limits:
                    rows[limit.row_id].hold(decision.day, charge.bound_nanos)
                if tracked and charge.org_id in tracked:
                    decision = _book_shared(tx, rows, charge, context, hit, decision)
            else:
                decision = row.rate_refusal(charge.rate_limit_rpm, context.moment)
                assert decision is not None  # noqa: S101 - the window that refused a moment ago refuses still
        decisions.append(decision)
    return decisions, admitted


def decide_models(
    row: KeyRow, charge: Charge, context: BatchContext, rows: Mapping[str, KeyRow], read: Callable[[str], KeyRow]
) -> Decision | None:
    """What the limits for its model refuse, in their order, of a charge that its key's own, on `row`, admit.

    `read` gives the row of a limit that is not among `rows`.
    """
    if not context.live:
        return Rebuilding()
    for limit in charge.model_limits:
        row_id, _, most, reset, since = limit
        if since > context.generation:
            return Rebuilding()
        counted = rows.get(row_id) or read(row_id)
        if not counted.seeded:
            return Unseeded(context.generation, row_id)
        refusal = counted.money_refusal(most, reset, charge.bound_nanos, None, context.moment)
        if refusal is not None and not isinstance(refusal, RateLimited):
            # A request rate that refuses as well is told first, as everywhere.
            return row.rate_refusal(charge.rate_limit_rpm, context.moment) or ModelRefused(limit, refusal)
    return None


def _decide_shared(tx: Transaction, rows: Rows, charge: Charge, context: BatchContext) -> Decision | None:
    """What refuses a charge that only its key's request rate may refuse still: that rate, then its organisation."""
    assert charge.organization is not None  # noqa: S101 - asked by `decide`, which knows
    if (limited := rows[charge.key_id].rate_refusal(charge.rate_limit_rpm, context.moment)) is not None:
        return limited
    if charge.org_id not in tx.state.tracked:
        return Rebuilding()
    return tx.row(rows, charge.org_id).decide_shared(charge.organization, charge, context)


def _book_shared(
    tx: Transaction, rows: Rows, charge: Charge, context: BatchContext, hit: Hit, admitted: Admitted
) -> Admitted:
    row, limits = tx.row(rows, charge.org_id), charge.organization
    hit(per_minute(None if limits is None else limits.rate_limit_rpm), charge.org_id)  # it fits: that was asked
    spend = row.admitted_shared(charge, context)
    return admitted if spend is None else replace(admitted, organization_spend=spend)


def book_ends(tx: Transaction, rows: Rows, ends: Iterable[End]) -> None:
    """Attempts have ended. Those of one key and day are booked at once: in a batch they are mostly many."""
    tracked = tx.state.tracked
    sums: dict[tuple[str, int, str, tuple[str, ...]], list[int]] = {}
    for _, key_id, day, held, cost, second, requests, org_id, tokens, of_models in ends:
        place = key_id, day, org_id, tuple(of_models)
        total = sums.get(place)
        if total is None:
            sums[place] = [held, cost, requests]
        else:
            total[0] += held
            total[1] += cost
            total[2] += requests
        if second >= 0:
            tx.row(rows, key_id).window.add(second, -1)
            if org_id in tracked:
                tx.row(rows, org_id).window.add(second, -1)
        if tokens is not None:
            (rows.get(key_id) or tx.row(rows, key_id)).count_tokens(*tokens)
    for (key_id, day, org_id, of_models), (held, cost, requests) in sums.items():
        (rows.get(key_id) or tx.row(rows, key_id)).end(day, held, cost, requests)
        for row_id in of_models:
            (rows.get(row_id) or tx.row(rows, row_id)).end_money(day, held, cost)
        if org_id in tracked:
            (rows.get(org_id) or tx.row(rows, org_id)).end(day, held, cost, requests)


def book_hold(tx: Transaction, rows: Rows, hold: Hold, sign: int = 1) -> None:
    """Something is held; -1 takes it back."""
    nanos, requests = sign * hold.nanos, sign * hold.requests
    tx.row(rows, hold.key_id).hold(hold.day, nanos, requests)
    for row_id in hold.rows:
        tx.row(rows, row_id).hold(hold.day, nanos)
    if hold.org_id in tx.state.tracked:
        tx.row(rows, hold.org_id).hold(hold.day, nanos, requests)


def book_requests(tx: Transaction, rows: Rows, buckets: Sequence[RateBucket]) -> None:
    """Count requests of the last minute. There may be a hundred thousand, and a worker does nothing else meanwhile."""
    tracked = tx.state.tracked
    tx.read_ahead(rows, [one.key_id for one in buckets])
    for key_id, second, requests, org_id, tokens in buckets:
        rows[key_id].window.add(second, requests)
        if tokens:
            rows[key_id].count_tokens(second, tokens)
        if tracked and org_id in tracked:
            tx.row(rows, org_id).window.add(second, requests)

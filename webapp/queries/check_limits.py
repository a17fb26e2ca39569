"""What the counters would say of a request: read and not changed, for the dry run."""

from collections.abc import Mapping
from typing import NamedTuple

from shared.counters import (
    BatchContext,
    Charge,
    CountersUnavailable,
    Decision,
    KeyRow,
    Rebuilding,
    Refusal,
    decide_models,
    period_of_day,
)
from shared.model_limits import ModelLimits
from shared.policy import Charges, KeySnapshot
from shared.seeds import keep_row_of, read_seeds
from webapp.context import counters
from webapp.db import db


class Standing(NamedTuple):
    """The counters of a key and of its organisation, read and not changed."""

    row: KeyRow
    shared: KeyRow | None  # None: they keep no row of its organisation, or not yet
    context: BatchContext
    of_models: Mapping[str, KeyRow]  # by the ids of the rows of limits for models

    def remaining_nanos(self, key: KeySnapshot, models: ModelLimits) -> int | None:
        """Of whichever limit leaves less; None: nobody can tell."""
        left = []
        limits: list[tuple[KeyRow | None, str, int | None]] = [(self.row, key.spend_reset, key.spend_limit_nanos)]
        if key.organization is not None:
            limits.append((self.shared, key.organization.spend_reset, key.organization.spend_limit_nanos))
        limits += [(self.of_models[one.row_id], one.spend_reset, one.spend_limit_nanos) for one in models]
        for row, reset, limit_nanos in limits:
            if limit_nanos is not None:
                if row is None or not row.seeded:
                    return None
                left.append(row.spend(period_of_day(reset, self.context.moment.day), limit_nanos).remaining_nanos or 0)
        return min(left, default=None)


def standing_of(key: KeySnapshot) -> Standing | None:
    """None: the counters do not answer."""
    try:
        status, moment = counters().status(), counters().moment().in_zone(key.zone)
        connection, of_models = db.session.connection(), [limit.row_id for limit in key.model_limits]
        ids = [key.id, *of_models]
        if key.organization is not None and keep_row_of(connection, key.org_id, status.generation):
            ids.append(key.org_id)
        known = counters().rows(ids)
    except CountersUnavailable:
        return None
    rows = {id_: known.get(id_) or KeyRow.new() for id_ in ids}
    untold = [id_ for id_ in ids if not rows[id_].seeded]
    seeds = read_seeds(connection, untold, status.generation, moment.day) if untold else {}
    for id_, seed in (seeds or {}).items():
        rows[id_].seed(seed)
    context = BatchContext(status.generation, status.live, moment)
    return Standing(rows[key.id], rows.get(key.org_id), context, {row_id: rows[row_id] for row_id in of_models})


def refused_by(key: KeySnapshot, charges: Charges, standing: Standing | None) -> Decision | None:
    """What the counters would refuse it with, were it charged; None: with nothing.

    As in the proxy, who has no limit of money passes while they cannot tell.
    """
    shared = charges.organization
    capped = charges.spend_limit_nanos is not None or (shared is not None and shared.spend_limit_nanos is not None)
    capped = capped or bool(charges.model_limits)
    if standing is None:
        return Rebuilding() if capped else None
    row, of_organization, context, of_models = standing
    charge = Charge(
        key.id,
        key.org_id,
        max(key.version, row.version),
        0,
        charges.rate_limit_rpm,
        charges.spend_limit_nanos,
        key.spend_reset,
        charges.bound_nanos,
        context.generation,
        max_concurrent_requests=key.max_concurrent_requests,
        organization=shared,
        rate_limit_tpm=charges.rate_limit_tpm,
        bound_tokens=charges.bound_tokens,
        model_limits=charges.model_limits,
    )
    answer = row.decide(charge, context)
    if answer is None and charge.model_limits:
        answer = decide_models(row, charge, context, of_models, of_models.__getitem__)
    answer = answer or row.rate_refusal(charges.rate_limit_rpm, context.moment)
    if answer is None and shared is not None:
        # Without its row the proxies wait for counters that have one.
        answer = Rebuilding() if of_organization is None else of_organization.decide_shared(shared, charge, context)
    return answer if isinstance(answer, Refusal) or capped else None

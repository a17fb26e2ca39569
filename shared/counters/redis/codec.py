"""From values of the counters to arguments of the script, and from its replies back."""

from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from shared.counters.moments import Moment, period_of_day
from shared.counters.redis import script
from shared.counters.rows import KeyRow
from shared.counters.states import spend_state
from shared.counters.values import (
    Admitted,
    Batch,
    Charge,
    Decision,
    End,
    Hold,
    LastAdmitted,
    Missing,
    ModelRefused,
    OrganizationRefused,
    RateBucket,
    RateLimited,
    RateState,
    Rebuilding,
    Seed,
    SpendExceeded,
    SpendHeld,
    SpendState,
    Stale,
    TokenRateLimited,
    TooManyConcurrent,
    Unseeded,
    WorkerReplay,
    WorkerState,
)
from shared.counters.window import WINDOW_SECONDS
from shared.periods import LocalDay, local_day

Arguments = list[str | int]
Days = dict[str, LocalDay]  # by zone


def batch_arguments(batch: Batch, moment: Moment) -> tuple[Arguments, Days]:
    """Of a batch that is applied at about this moment, with the days it is then in the zones of its charges.

    Raises ValueError for an unknown reset.
    """
    days: Days = {}
    arguments: Arguments = [batch.number, *_end_arguments(batch.ends)]
    begin = len(arguments)
    arguments.append(len(batch.charges))
    before: Charge | None = None
    for charge in batch.charges:
        if before is None or not _repeats(charge, before):
            before = charge
            _add_charge(arguments, charge, days, moment)
            continue
        arguments += (script.AGAIN, charge.bound_nanos, charge.seq)
        if charge.rate_limit_tpm is not None:
            arguments.append(charge.bound_tokens)
    if days:
        lasts = max(there.begins for there in days.values()), min(there.ends for there in days.values())
        arguments[begin : begin + 1] = -len(batch.charges), *lasts
    return arguments, days


def _add_charge(arguments: Arguments, charge: Charge, days: Days, moment: Moment) -> None:
    period_of_day(charge.spend_reset, day := moment.day)  # the script trusts us that it is one
    most, seed, shared = charge.max_concurrent_requests, charge.seed, charge.organization
    more, limits = 0 if shared is None else 1, charge.model_limits
    if limits:
        more += script.ROWS_FOLLOW
    arguments += (
        charge.version,
        charge.key_id,
        charge.org_id,
        charge.org_version,
        *_limit_arguments(charge.rate_limit_rpm, charge.spend_limit_nanos, charge.spend_reset),
        charge.bound_nanos,
        charge.loaded_in,
        charge.seq,
        script.NONE if most is None else most,
    )
    tpm, zone = charge.rate_limit_tpm, charge.zone
    if tpm is not None:
        more += script.TOKENS_FOLLOW
    if zone is None:
        arguments.append(more)
    else:
        there = days.get(zone)
        if there is None:
            there = days[zone] = local_day(zone, moment.wall)
        arguments += (more + script.DAY_FOLLOWS, there.ordinal)
    if tpm is not None:
        arguments += (tpm, charge.bound_tokens)
    if limits:
        arguments.append(len(limits))
        for limit in limits:
            period_of_day(limit.spend_reset, day)
            arguments += (limit.row_id, limit.spend_limit_nanos, limit.spend_reset, limit.since)
    if shared is not None:
        period_of_day(shared.spend_reset, day)
        arguments += _limit_arguments(*shared)
    if seed is None:
        arguments.append(0)
    else:
        arguments.append(1)
        arguments += seed_arguments(seed)


def _end_arguments(ends: Sequence[End]) -> Arguments:
    arguments: Arguments = [len(ends)]
    before: tuple[str, int, str, Sequence[str]] | None = None
    for end in ends:
        number, key_id, day, held, cost, uncount, requests, org_id, change, rows = end
        if change is not None:
            requests += script.TOKENS_FOLLOW
        place = key_id, day, org_id, rows
        if place == before:
            arguments += (number, script.AGAIN, held, cost, uncount, requests, *(change or ()))
            continue
        before = place
        if rows:
            requests += script.ROWS_FOLLOW
        arguments += (number, day, key_id, held, cost, uncount, requests, org_id, *(change or ()))
        if rows:
            arguments += (len(rows), *rows)
    return arguments


def _repeats(charge: Charge, before: Charge) -> bool:
    """Whether it differs from the one before in nothing but its bounds and its number, which are sent alone then."""
    return (
        charge.seed is None
        and charge[:7] == before[:7]
        and charge.loaded_in == before.loaded_in
        and charge[11:14] == before[11:14]
        and charge[15:] == before[15:]
    )


def _limit_arguments(rpm: int | None, limit_nanos: int | None, reset: str) -> tuple[int, int, str]:
    return script.NONE if rpm is None else rpm, script.NONE if limit_nanos is None else limit_nanos, reset


def seed_arguments(seed: Seed) -> Arguments:
    return [seed.lifetime_nanos, len(seed.days), *(number for day in seed.days.items() for number in day)]


def bucket_arguments(buckets: Sequence[RateBucket]) -> Arguments:
    arguments: Arguments = [len(buckets)]
    for one in buckets:
        arguments += one
    return arguments


def replay_arguments(replay: WorkerReplay) -> Arguments:
    told = _end_arguments(replay.ends) + hold_arguments(replay.holds) + bucket_arguments(replay.buckets)
    return [replay.end_number, *told]


def hold_arguments(holds: Sequence[Hold]) -> Arguments:
    arguments: Arguments = [len(holds)]
    for hold in holds:
        arguments += (*hold[:5], len(hold.rows), *hold.rows)
    return arguments


def row_of(found: list[Any]) -> KeyRow:
    version, seeded, lifetime, days, window, in_flight, *tokens = found
    return KeyRow(
        version,
        lifetime,
        {days[at]: [days[at + 1], days[at + 2]] for at in range(0, len(days), 3)},
        _buckets_of(window),
        seeded=bool(seeded),
        in_flight=in_flight,
        tokens=_buckets_of(tokens[0]) if tokens else None,
    )


def _buckets_of(flat: list[int]) -> dict[int, int]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _decision_of(charge: Charge, found: list[int], generation: int, moment: Moment) -> Decision:
    """Of the numbers that the script told."""
    code, used, last, room, spent, held, number, org_spent, org_held = found
    shared = charge.organization
    rpm, limit, reset = charge.rate_limit_rpm, charge.spend_limit_nanos, charge.spend_reset
    if code >= script.OF_MODEL:
        place, code = divmod(code, script.OF_MODEL)
        counted = charge.model_limits[place - 1]
        if code == script.UNSEEDED:
            return Unseeded(generation, counted.row_id)
        of_model = _spend(counted.spend_reset, counted.spend_limit_nanos, spent, held, moment)
        told = _refusal(code, None, of_model, room, number, moment)
        assert not isinstance(told, RateLimited)  # noqa: S101 - it has none
        return ModelRefused(counted, told)
    if code >= script.OF_ORGANIZATION:
        assert shared is not None  # noqa: S101 - only a limit refuses
        if code == script.OF_ORGANIZATION + script.UNSEEDED:
            return Unseeded(generation, charge.org_id)
        (rpm, limit, reset), code = shared, code - script.OF_ORGANIZATION
        of_rate = None if rpm is None else _rate(rpm, used, last, moment)
        refusal = _refusal(code, of_rate, _spend(reset, limit, spent, held, moment), room, number, moment)
        return OrganizationRefused(refusal)
    if code in _UNJUDGED:
        return _unjudged(code, generation)
    rate = None if rpm is None else _rate(rpm, used, last, moment)
    spend = _spend(reset, limit, spent, held, moment)
    if code == script.ADMITTED:
        of_organization = None if shared is None else _spend(shared[2], shared[1], org_spent, org_held, moment)
        return Admitted(moment.day, moment.second, rate, spend, of_organization)
    if code == script.TOO_MANY_CONCURRENT:
        return TooManyConcurrent(charge.max_concurrent_requests or 0, number)
    if code == script.TOKEN_RATE_LIMITED:
        # What stands behind all decisions completes it.
        return TokenRateLimited(_rate(charge.rate_limit_tpm or 0, 0, script.NONE, moment), charge.bound_tokens, None)
    return _refusal(code, rate, spend, room, number, moment)


# Nothing is known, or not enough, by which a charge could be judged.
_UNJUDGED = frozenset((script.STALE, script.MISSING, script.UNSEEDED, script.REBUILDING))


def _unjudged(code: int, generation: int) -> Decision:
    if code == script.MISSING:
        return Missing(generation)
    if code == script.UNSEEDED:
        return Unseeded(generation)
    return Stale() if code == script.STALE else Rebuilding()


def _refusal(
    code: int, rate: RateState | None, spend: SpendState | None, room: int, wait_seconds: int, moment: Moment
) -> RateLimited | SpendExceeded | SpendHeld:
    if code == script.RATE_LIMITED:
        assert rate is not None  # noqa: S101 - only a limit refuses
        return RateLimited(rate, _wait(room, moment))
    assert spend is not None  # noqa: S101 - as above
    return SpendExceeded(spend) if code == script.SPEND_EXCEEDED else SpendHeld(spend, wait_seconds)


def _spend(reset: str, limit: int | None, spent: int, held: int, moment: Moment) -> SpendState | None:
    return None if limit is None else spend_state(period_of_day(reset, moment.day), limit, spent, held)


def _rate(rpm: int, used: int, last: int, moment: Moment) -> RateState:
    return RateState(rpm, max(0, rpm - used), -int(-(moment.wall + _wait(last, moment)) // 1))


def _wait(second: int, moment: Moment) -> float:
    """Seconds until what was counted in a second weighs no more."""
    return max(0.0, second + WINDOW_SECONDS + 1 - moment.steady) if second >= 0 else 0.0


def _with_tokens(decision: Decision, tpm: int, told: list[int], moment: Moment) -> Decision:
    used, last, room = told
    rate = _rate(tpm, used, last, moment)
    if isinstance(decision, Admitted):
        return replace(decision, tokens=rate)
    if not isinstance(decision, TokenRateLimited):
        return decision
    return TokenRateLimited(rate, decision.needed, None if decision.needed > tpm else _wait(room, moment))


def decisions_before(flat: list[Any], asked: int) -> list[Decision]:
    """Of a batch whose answer was lost. What was refused then consumed nothing and may ask anew."""
    before = {flat[at]: Admitted(flat[at + 3], flat[at + 4]) for at in range(0, len(flat), script.ADMITTED_FIELDS)}
    return [before.get(index, Stale()) for index in range(max([asked, *(index + 1 for index in before)]))]


def decisions_of(batch: Batch, flat: list[int], moment: Moment, days: Days) -> list[Decision]:
    """Of the charges of a batch, in order, on the days that it was asked with."""
    width, charges = script.DECISION_FIELDS, batch.charges
    of_tokens = len(charges) * width
    moments = {zone: moment.on_day(there.ordinal) for zone, there in days.items()} if days else {}
    decisions = [
        _decision_of(
            charge, flat[at : at + width], batch.generation, moment if charge.zone is None else moments[charge.zone]
        )
        for charge, at in zip(charges, range(0, of_tokens, width), strict=True)
    ]
    for at in range(of_tokens, len(flat), script.TOKEN_FIELDS):
        index, *told = flat[at : at + script.TOKEN_FIELDS]
        decisions[index] = _with_tokens(decisions[index], charges[index].rate_limit_tpm or 0, told, moment)
    return decisions


def worker_state_of(found: list[Any]) -> WorkerState:
    joined, end_number, flat = found
    last = [
        LastAdmitted(seq, Hold(key.decode(), day, nanos, 1, org.decode(), tuple(row.decode() for row in rows)))
        for at in range(0, len(flat), script.ADMITTED_FIELDS)
        for seq, key, day, _, nanos, org, rows in (flat[at + 1 : at + script.ADMITTED_FIELDS],)
    ]
    return WorkerState(joined == 1, end_number, last)  # 2 is one that is fenced

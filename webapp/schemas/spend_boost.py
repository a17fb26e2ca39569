"""A temporary raise of a key's spend limit: an amount and an end, both or neither, judged with the limit they raise."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Protocol

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema

from shared import money
from webapp.schemas import Fault
from webapp.schemas.key_rules import KeyRules, in_days
from webapp.schemas.values import dollars_in_json, read_dollars, read_moment

MAX_DAYS = 90
AMOUNT, END, LIMIT = "spend_limit_boost_usd", "spend_limit_boost_until", "spend_limit_usd"


def _read_amount(raw: object) -> int:
    """Nano-dollars, more than none."""
    if isinstance(raw, bool) or not isinstance(raw, str | int | Decimal):
        raise ValueError("must be an amount in dollars, or null for no raise")  # noqa: TRY004 - wrong input
    if str(raw).strip().startswith("-") or not (nanos := read_dollars(raw)):
        raise ValueError("must be more than 0; null is no raise")
    return nanos


def _read_end(raw: object, info: ValidationInfo) -> datetime:
    """A moment that is near enough, by the context's `now`; the one that a key has (`kept`) may be past."""
    end, context = read_moment(raw), info.context or {}
    if end == context.get("kept", {}).get(END):
        return end
    if end <= context["now"]:
        raise ValueError("must be in the future")
    if end > in_days(context["now"], MAX_DAYS):
        raise ValueError(f"must be within {MAX_DAYS} days; what is to stay is a spend limit")
    return end


class Settings(Protocol):
    """What was said of a key: those fields that are in `model_fields_set`."""

    spend_limit_usd: int | None
    spend_limit_boost_usd: int | None
    spend_limit_boost_until: datetime | None

    @property
    def model_fields_set(self) -> set[str]: ...


def settle(said: Settings, wrong: frozenset[str], context: Mapping[str, Any]) -> Iterator[Fault]:
    """Judge the raise that a key is to have, of what was said and what it has (`kept`). Null for one half clears both.

    It is faulty where it has no end, no amount, no limit to raise, or raises it too far; of what is `wrong` by itself
    nothing more is told.
    """
    kept, names = context.get("kept", {}), said.model_fields_set
    has = (kept.get(AMOUNT), kept.get(END))
    halves = [getattr(said, name) for name in (AMOUNT, END) if name in names]
    if halves and halves.count(None) == len(halves):
        said.spend_limit_boost_usd = said.spend_limit_boost_until = None
        return
    unreadable = wrong & {AMOUNT, END}
    if not halves and has == (None, None) and not unreadable:
        return
    now = context["now"]
    runs = has if has[1] is not None and has[1] > now else (None, None)
    amount = said.spend_limit_boost_usd if AMOUNT in names else runs[0]
    end = said.spend_limit_boost_until if END in names else runs[1]
    limit = said.spend_limit_usd if LIMIT in names else kept.get(LIMIT)
    if not unreadable and (amount, end) == has and (limit == kept.get(LIMIT) or runs != has):
        return  # sent back as it is; if it has ended meanwhile, it raises no limit
    if amount is None and end is None and not unreadable:
        return
    if amount is None and AMOUNT not in wrong:
        yield AMOUNT, "is required for a raise: how much more may be spent until its end"
    if end is None and END not in wrong:
        yield END, "is required for a raise: when it ends"
    if end is not None and end <= now:
        yield END, "must be in the future"
    if amount is None or wrong & {AMOUNT, LIMIT}:
        return
    if limit is None:
        yield AMOUNT, "raises nothing, as there is no spend limit; set one, or clear the raise as well"
    else:
        yield from _judge_sum(limit, amount, context.get("rules"), LIMIT if (amount, end) == runs else AMOUNT)


def _judge_sum(limit: int, amount: int, rules: KeyRules | None, field: str) -> Iterator[Fault]:
    """The organisation's maximum is for the limit with its raise, as it is for the limit."""
    both = limit + amount
    if both > money.MAX_NANOS:
        yield field, "must be less than 9007199.25 dollars, the spend limit and its raise together"
        return
    most = None if rules is None else rules.max_spend_limit_nanos
    if most is not None and both > most:
        told = f"the spend limit and its raise together are {money.to_usd(both)}"
        yield field, f"is too much: {told}, and this organisation's maximum is {money.to_usd(most)}"


Boost = Annotated[
    int,
    BeforeValidator(_read_amount),
    dollars_in_json(exclusiveMinimum=0),
]
BoostEnd = Annotated[datetime, BeforeValidator(_read_end), WithJsonSchema({"type": "string", "format": "date-time"})]

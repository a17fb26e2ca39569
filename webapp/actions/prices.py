"""An organisation's own prices: they beat the price table's, and add models that it does not know."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation

from sqlalchemy import Select, select

from shared.catalog import PROVIDERS
from shared.ids import new_id
from shared.models import PriceOverride
from shared.pricing.table import PRICED_FAMILIES, units_by_usage_key
from webapp.actions import audit, policy
from webapp.context import Actor, NotFound, now
from webapp.db import writing
from webapp.validation import FieldError, Invalid
from webapp.views.prices import PriceView, view_of

MAX_MODEL = 200
MAX_DOLLARS = Decimal(1_000_000)
MAX_DECIMALS = 12
REQUIRED = "input_tokens"


def set_price(actor: Actor, provider: str, model: str, rates: Mapping[str, object]) -> PriceView:
    """Make this the price of a model, for bounds and costs of every request that starts after the answer.

    `rates` are dollars by usage key, decimal strings: a million tokens, or a thousand calls of a tool. They take the
    place of all token prices of the model; fees that are not named stay as the price table has them. Raises Invalid.
    """
    errors = _faults(provider, model)
    told: dict[str, str] = {}
    for key, raw in rates.items():
        try:
            told[key] = _rate(key, raw)
        except ValueError as error:
            errors.append(FieldError(f"rates.{key[:80]}", str(error)))
    if REQUIRED not in rates:
        errors.append(
            FieldError("rates", f"must have {REQUIRED}, by which all other input is priced that is not named")
        )
    if errors:
        raise Invalid(*errors)
    with writing() as session:
        row = session.scalar(_query(actor, provider, model).with_for_update())
        before = None if row is None else {"rates": row.rates}
        if row is None:
            row = PriceOverride(org_id=actor.org_id, provider=provider, model=model)
            session.add(row)
        # A row of the ledger names the price by its id, so that an id stands for these rates and no others.
        row.id, row.rates, row.created_at = new_id("price"), told, now()
        after = {"provider": provider, "model": model, "rates": told}
        audit(session, actor, "price.set", row.id, before=before, after=after)
        policy.shared_changed(session, actor.org_id)
        view = view_of(row)
    policy.publish([actor.org_id])
    return view


def forget_price(actor: Actor, provider: str, model: str) -> None:
    """Go by the price table again. Raises NotFound."""
    with writing() as session:
        row = session.scalar(_query(actor, provider, model).with_for_update())
        if row is None:
            raise NotFound
        before = {"provider": provider, "model": model, "rates": row.rates}
        audit(session, actor, "price.delete", row.id, before=before)
        session.delete(row)
        policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])


def _query(actor: Actor, provider: str, model: str) -> Select[PriceOverride]:
    return select(PriceOverride).where(
        PriceOverride.org_id == actor.org_id, PriceOverride.provider == provider, PriceOverride.model == model
    )


def _faults(provider: str, model: str) -> list[FieldError]:
    errors = []
    if provider not in PROVIDERS:
        errors.append(FieldError("provider", f"must be one of {', '.join(PROVIDERS)}"))
    if not model or len(model) > MAX_MODEL or not model.isprintable() or model != model.strip():
        errors.append(FieldError("model", f"must be 1 to {MAX_MODEL} printable characters without space around them"))
    return errors


def _rate(key: str, raw: object) -> str:
    unit = units_by_usage_key().get(key)
    if unit is None or unit.dimensions["family"] not in PRICED_FAMILIES:
        raise ValueError("is no class of tokens and no fee that is known; docs/pricing.md lists them")
    try:
        dollars = Decimal(raw) if isinstance(raw, str) else None
    except InvalidOperation:
        dollars = None
    if dollars is None or not dollars.is_finite() or not 0 <= dollars <= MAX_DOLLARS:
        raise ValueError(f"must be dollars as a decimal string, from 0 to {MAX_DOLLARS:,}")
    exponent = dollars.as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MAX_DECIMALS:
        raise ValueError(f"must have at most {MAX_DECIMALS} digits after the point")
    return format(dollars, "f")

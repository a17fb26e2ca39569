"""An organisation's own prices: they beat the price table's, and add models that it does not know."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Select, select

from shared.ids import new_id
from shared.models import PriceOverride
from webapp.actions import audit, policy
from webapp.context import Actor, NotFound, now
from webapp.db import first_or_next, writing
from webapp.schemas.prices import Price
from webapp.validation import FieldError, Invalid, read, told_name
from webapp.views.custom_providers import own_providers
from webapp.views.prices import PriceView, view_of


def rates_in(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Classes and their dollars as a document. Raises Invalid for a class that is named twice, as of JSON."""
    found: dict[str, object] = {}
    for name, dollars in pairs:
        if name in found:
            raise Invalid(FieldError(f"rates.{told_name(name)}", "occurs twice"))
        found[name] = dollars
    return found


def set_price(actor: Actor, provider: str, model: str, rates: Mapping[str, object]) -> PriceView:
    """Make this the price of a model, for bounds and costs of every request that starts after the answer.

    `rates` are dollars by usage key, decimal strings: a million tokens, or a thousand calls of a tool. They take the
    place of all token prices of the model; fees that are not named stay as the price table has them. Raises Invalid.
    """
    wanted = read(
        Price,
        {"provider": provider, "model": model, "rates": rates},
        providers=own_providers(actor.org_id),
    )
    view = first_or_next(lambda: _set(actor, wanted))
    policy.publish([actor.org_id])
    return view


def _set(actor: Actor, wanted: Price) -> PriceView:
    with writing() as session:
        row = session.scalar(_query(actor, wanted.provider, wanted.model).with_for_update())
        before = None if row is None else {"rates": row.rates}
        if row is None:
            row = PriceOverride(org_id=actor.org_id, provider=wanted.provider, model=wanted.model)
            session.add(row)
        # A row of the ledger names the price by its id, so that an id stands for these rates and no others.
        row.id, row.rates, row.created_at = new_id("price"), wanted.rates, now()
        after = {"provider": wanted.provider, "model": wanted.model, "rates": wanted.rates}
        audit(session, actor, "price.set", row.id, before=before, after=after)
        policy.shared_changed(session, actor.org_id)
        return view_of(row)


def forget_price(actor: Actor, provider: str, model: str) -> PriceView:
    """Go by the price table again; answers with the price that was. Raises NotFound."""
    with writing() as session:
        row = session.scalar(_query(actor, provider, model).with_for_update())
        if row is None:
            raise NotFound
        view = view_of(row)
        before = {"provider": provider, "model": model, "rates": row.rates}
        audit(session, actor, "price.delete", row.id, before=before)
        session.delete(row)
        policy.shared_changed(session, actor.org_id)
    policy.publish([actor.org_id])
    return view


def _query(actor: Actor, provider: str, model: str) -> Select[PriceOverride]:
    return select(PriceOverride).where(
        PriceOverride.org_id == actor.org_id, PriceOverride.provider == provider, PriceOverride.model == model
    )

"""The models of a provider that are known here, and what they cost the organisation."""

import re
from dataclasses import dataclass

from shared.catalog import PROVIDERS
from shared.custom_providers import plain_names
from shared.pricing import book_of
from shared.pricing.listing import ListedPrice, list_prices
from shared.pricing.supplement import added_names
from shared.pricing.table import current_models
from webapp.context import now
from webapp.queries.prices import own_prices
from webapp.views.custom_providers import custom_row

# The price table has entries that are no names of models but beginnings of some.
_NAME = re.compile(r"[\w.:-]*\w")


@dataclass(frozen=True, slots=True)
class StepView:
    """Other rates, while the input is above so many tokens."""

    above_tokens: int
    rates: dict[str, str]


@dataclass(frozen=True, slots=True)
class ModelPriceView:
    """A model with its price. Rates are dollars by usage key, decimal strings; none of them: it is free, or unknown."""

    provider: str
    model: str
    priced_by: str  # own, table, nothing
    rates: dict[str, str]
    steps: tuple[StepView, ...]


def list_models(org_id: str, slug: str, q: str = "") -> tuple[ModelPriceView, ...]:
    """Models of a provider with `q` in their names, by name. Raises NotFound."""
    known = _known_of(org_id, slug)
    book = book_of((price.id, price.provider, price.model, price.rates) for price in own_prices(org_id))
    wanted = q.strip().casefold()
    found = list_prices(slug, known, book, now().timestamp())
    return tuple(_view(slug, listed) for listed in found if wanted in listed.model.casefold())


def price_of(org_id: str, slug: str, model: str) -> ModelPriceView:
    """What a model costs at present, known here or not. Raises NotFound for an unknown provider."""
    _known_of(org_id, slug)
    book = book_of((price.id, price.provider, price.model, price.rates) for price in own_prices(org_id))
    found = {listed.model: listed for listed in list_prices(slug, (model,), book, now().timestamp())}
    return _view(slug, found[model])


def _known_of(org_id: str, slug: str) -> set[str]:
    """Those of a provider; of one of the organisation's own the names on its list. Raises NotFound."""
    if slug in PROVIDERS:
        return _known(slug)
    return set(plain_names(custom_row(org_id, slug).models))


def _known(slug: str) -> set[str]:
    """The price table's names but for what another provider sells by this one, and those of its supplement."""
    provider = PROVIDERS[slug]
    others = tuple(start for other in PROVIDERS.values() if other is not provider for start in other.model_prefixes)
    names = (*current_models(provider.prices_id), *added_names(slug))
    return {name for name in names if _NAME.fullmatch(name) and not name.startswith(others)}


def _view(slug: str, listed: ListedPrice) -> ModelPriceView:
    priced_by = "nothing" if listed.rates is None else "table" if listed.own is None else "own"
    steps = tuple(StepView(over, dict(rates)) for over, rates in listed.steps)
    return ModelPriceView(slug, listed.model, priced_by, dict(listed.rates or {}), steps)

"""An organisation's own providers as pages, API and commands show them; and the names of all that it has."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from shared.catalog import PROVIDERS
from shared.custom_providers import NONE, may_be_name, models_of, own_names, provider_named
from shared.models import CustomProvider, PriceOverride, ProxyKey
from webapp.context import NotFound
from webapp.db import db


@dataclass(frozen=True, slots=True)
class CustomView:
    """What was set of one. `base_url` is what an SDK takes, version and all."""

    provider: str
    base_url: str
    auth: str
    api_version: str | None
    models: tuple[str, ...]
    stream_options: bool
    enabled: bool
    created_at: datetime
    created_by: str
    removed: bool = False

    @property
    def needs_credential(self) -> bool:
        return self.auth != NONE


def custom_providers(org_id: str, *, also_removed: bool = False) -> tuple[CustomView, ...]:
    """Those of an organisation, by name."""
    query = select(CustomProvider).where(CustomProvider.org_id == org_id).order_by(CustomProvider.name)
    if not also_removed:
        query = query.where(CustomProvider.removed_at.is_(None))
    return tuple(custom_view(row) for row in db.session.scalars(query))


def custom_view(row: CustomProvider) -> CustomView:
    return CustomView(
        row.name,
        row.base_url,
        row.auth,
        row.api_version,
        tuple(row.models),
        row.stream_options,
        row.enabled,
        row.created_at,
        row.created_by,
        row.removed_at is not None,
    )


def custom_row(org_id: str, name: str, *, lock: bool = False) -> CustomProvider:
    """The row of one. Raises NotFound."""
    query = select(CustomProvider).where(
        CustomProvider.org_id == org_id, CustomProvider.name == name, CustomProvider.removed_at.is_(None)
    )
    row = db.session.scalar(query.with_for_update() if lock else query)
    if row is None:
        raise NotFound
    return row


def own_providers(org_id: str, key: ProxyKey | None = None) -> tuple[str, ...]:
    """The names of its own, and those that a key still has in its lists: they may stay there."""
    query = select(CustomProvider.name).where(CustomProvider.org_id == org_id, CustomProvider.removed_at.is_(None))
    names = db.session.scalars(query.order_by(CustomProvider.name))
    listed: list[str] = []
    if key is not None:
        patterns = [*key.allowed_models, *(limit["model"] for limit in key.model_limits or ())]
        before = (pattern.partition("/")[0] for pattern in patterns if "/" in pattern)
        # Before a slash may stand another spelling of a built-in one, or a glob, and neither is a provider.
        listed = [name for name in (*own_names(key.allowed_providers), *before) if may_be_name(name)]
    return tuple(dict.fromkeys((*names, *listed)))


def names_given(org_id: str) -> frozenset[str]:
    """The names of its own, and those of providers that were removed."""
    return frozenset(db.session.scalars(select(CustomProvider.name).where(CustomProvider.org_id == org_id)))


def provider_labels(org_id: str) -> dict[str, str]:
    """What each provider of an organisation is called, the built-in ones first."""
    return {slug: one.label for slug, one in PROVIDERS.items()} | {name: name for name in own_providers(org_id)}


def own_models(org_id: str) -> dict[str, tuple[str, ...]]:
    """The models of each of its own that are known: those on its list, and those that have a price."""
    priced: dict[str, list[str]] = {}
    query = select(PriceOverride.provider, PriceOverride.model).where(PriceOverride.org_id == org_id)
    for slug, model in db.session.execute(query):
        priced.setdefault(slug, []).append(model)
    return {one.provider: models_of(one.models, priced.get(one.provider, ())) for one in custom_providers(org_id)}


def label_of(slug: str) -> str:
    """What a provider is called that may be none of the built-in ones."""
    found = PROVIDERS.get(slug) or provider_named(slug, NONE)
    return found.label

"""The providers of an organisation's own, as the data plane uses them; loaded with its credentials and prices."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from sqlalchemy import Connection, bindparam, select

from proxyd.messages import Origin, origin_of
from shared.catalog import Provider
from shared.custom_providers import API_KEY, provider_named
from shared.models import CustomProvider

_CUSTOM = select(CustomProvider.__table__).where(CustomProvider.org_id == bindparam("org_id"))


class Custom(Struct, frozen=True):
    """One of them. One that is switched off or removed is known as well, so that whoever asks for it is told."""

    provider: Provider
    origin: Origin
    base: str  # the path of its base URL, version and all, perhaps with a place for the model
    api_version: str | None  # into each query
    models: tuple[str, ...]  # names and globs; empty: any
    stream_options: bool  # False: it refuses the field by which a stream is asked for its usage
    enabled: bool
    removed: bool = False

    @property
    def limit_name(self) -> str:
        """What an output limit is called: as all such servers know it, but that Azure's newer models want the other."""
        return "max_completion_tokens" if self.provider.auth_header == API_KEY.encode() else "max_tokens"


def read_custom(connection: Connection, org_id: str) -> Mapping[str, Custom]:
    """Those of an organisation, by name. Raises SQLAlchemyError."""
    return {row.name: _of(row) for row in connection.execute(_CUSTOM, {"org_id": org_id})}


def _of(row: Any) -> Custom:
    origin, base = origin_of(row.base_url)
    return Custom(
        provider_named(row.name, row.auth),
        origin._replace(chosen=True),
        base,
        row.api_version,
        tuple(row.models),
        row.stream_options,
        row.enabled,
        row.removed_at is not None,
    )

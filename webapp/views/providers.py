"""Providers as pages and API show them: where they are, and whose credential the router has."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A credential without itself."""

    last4: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider; `credential` is None where there is none."""

    provider: str
    label: str
    base_url: str
    credential: CredentialView | None

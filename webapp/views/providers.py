"""Providers as pages and API show them: where they are, and whose credential the router has."""

from dataclasses import dataclass
from datetime import datetime

SANDBOX_PREFIX = "sandbox-"  # of what the built-in provider takes for a credential


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A credential without itself. `readable` is False when no key of ROUTER_ENCRYPTION_KEY opens it."""

    last4: str
    created_at: datetime
    created_by: str
    source: str  # system, staff, sandbox
    readable: bool


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider; `credential` is None where there is none."""

    provider: str
    label: str
    base_url: str
    base_url_setting: str
    usual_url: str  # the provider's own
    credential: CredentialView | None


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """What a provider said to its credential; `status` and `latency_ms` are None when it was not reached."""

    provider: str
    ok: bool
    status: int | None
    message: str
    latency_ms: int | None


def lost_words(count: int) -> str:
    """What to do about credentials that no key opens."""
    lost, them = ("A provider credential", "it") if count == 1 else (f"{count} provider credentials", "them")
    return (
        f"{lost} cannot be opened: put what ROUTER_ENCRYPTION_KEY was behind the present key, after a comma, and start "
        f"again; or set {them} anew."
    )

"""Providers as pages and API show them: where they are, and whose credential the router has."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.models import DEFAULT_LABEL
from webapp.views.custom_providers import CustomView

SANDBOX_PREFIX = "sandbox-"  # of what the built-in provider takes for a credential
SANDBOX_FILE = "sandbox"  # in the data directory: the providers that it answers for, a line each, while it runs


@dataclass(frozen=True, slots=True)
class RefusedView:
    """That a provider does not take a credential, as it said itself; `message` is empty when it gave no words."""

    at: datetime
    status: int
    message: str


@dataclass(frozen=True, slots=True)
class CredentialView:
    """A credential without itself. `readable` is False when no key of ROUTER_ENCRYPTION_KEY opens it."""

    id: str
    label: str
    weight: int
    priority: int
    enabled: bool
    last4: str
    created_at: datetime
    created_by: str
    source: str  # system, staff, sandbox
    readable: bool
    refused: RefusedView | None  # None: it was taken when it was sent last, or never sent


@dataclass(frozen=True, slots=True)
class ProviderView:
    """A provider, and its credentials in the order in which they are tried."""

    provider: str
    label: str
    base_url: str
    base_url_setting: str | None  # None: the organisation has set it itself
    usual_url: str  # the provider's own
    at_sandbox: bool  # its requests go to the sandbox as long as the router runs, whatever credential is stored
    credentials: tuple[CredentialView, ...]
    custom: CustomView | None = None  # what was set of one of the organisation's own

    @property
    def serves(self) -> bool:
        """Whether requests are sent there at all."""
        if self.custom is None:
            return bool(self.enabled)
        return self.custom.enabled and (bool(self.enabled) or not self.custom.needs_credential)

    @property
    def default(self) -> CredentialView | None:
        """The one that the environment sets, and that is set where no other one is named."""
        return next((one for one in self.credentials if one.label == DEFAULT_LABEL), None)

    @property
    def enabled(self) -> tuple[CredentialView, ...]:
        """Those with which requests are sent."""
        return tuple(one for one in self.credentials if one.enabled)

    @property
    def credential(self) -> CredentialView | None:
        """The one that is tried first, of those that can be opened if there are any; None: requests are refused."""
        return min(self.enabled, key=lambda one: not one.readable, default=None)


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """What a provider said to its credential; `status` and `latency_ms` are None when it was not reached."""

    provider: str
    ok: bool
    status: int | None
    message: str
    latency_ms: int | None


def waiting(views: Sequence[ProviderView]) -> frozenset[str]:
    """The providers with a real credential that is used only once the router is started again.

    The launcher sets their addresses at the start, and the sandbox refuses what is a real provider's. An address that
    was set by hand is another one, and what is stored for it holds at once.
    """
    return frozenset(
        view.provider
        for view in views
        if view.at_sandbox and any(one.readable and one.source != "sandbox" for one in view.enabled)
    )


def lost_words(count: int) -> str:
    """What to do about credentials that no key opens."""
    lost, them = ("A provider credential", "it") if count == 1 else (f"{count} provider credentials", "them")
    return (
        f"{lost} cannot be opened: put what ROUTER_ENCRYPTION_KEY was behind the present key, after a comma, and start "
        f"again; or set {them} anew."
    )

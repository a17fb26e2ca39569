"""A proxy key as it is known to a worker, with what it takes to serve it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple

from proxyd.credentials import ProviderCredentials
from proxyd.custom_providers import Custom
from shared.policy import KeySnapshot
from shared.pricing import PriceBook

NO_CUSTOM: Mapping[str, Custom] = MappingProxyType({})


class OfOrganization(NamedTuple):
    """What all keys of an organisation share: one object, as they are a hundred thousand."""

    version: int = 1
    # Provider slug -> the real credentials.
    credentials: Mapping[str, ProviderCredentials] = MappingProxyType({})
    prices: PriceBook | None = None  # of its own
    custom: Mapping[str, Custom] = NO_CUSTOM  # its own providers, by slug


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key, and what it takes to serve it. A field more is a megabyte for a hundred thousand."""

    key: KeySnapshot
    organization: OfOrganization = field(repr=False)
    valid_until: float | None  # Unix seconds; set on a secret that was rotated out
    generation: int = 0  # of the counters, when its loading began
    loaded_at: float = field(default=0.0, compare=False, repr=False)  # monotonic
    # When time alone makes it another one, in Unix seconds; None: never. All that a key without an end is asked.
    changes_at: float | None = field(default=None, compare=False, repr=False)

    @property
    def org_version(self) -> int:
        return self.organization.version

    @property
    def credentials(self) -> Mapping[str, ProviderCredentials]:
        return self.organization.credentials

    @property
    def prices(self) -> PriceBook | None:
        return self.organization.prices

    @property
    def custom(self) -> Mapping[str, Custom]:
        return self.organization.custom

    @property
    def holds_until(self) -> float | None:
        """The instant from which on it has to be judged anew, in Unix seconds; None: time alone makes no difference."""
        changes, expires = self.changes_at, self.key.expires_at
        return expires if changes is None else changes if expires is None else min(changes, expires)

    def same_as(self, other: "KnownKey") -> bool:
        """Whether the two were loaded of the same policy."""
        return (self.key, self.org_version) == (other.key, other.org_version)

    def as_of(self, now: float) -> "KnownKey":
        """The same at a later moment: without the raise of its limit once that has ended."""
        boost = self.key.boost
        if boost is None or now < boost.until:
            return self
        return replace(self, key=self.key.without_boost(), changes_at=self.valid_until)

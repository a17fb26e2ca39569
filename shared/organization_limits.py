"""What all keys of an organisation may use together: one value on its way from the database to the counters."""

from typing import NamedTuple, Protocol

from shared.model_limits import ModelLimits


class OrganizationLimits(NamedTuple):
    """At least one of the two is set."""

    rate_limit_rpm: int | None  # None: unlimited
    spend_limit_nanos: int | None  # None: unlimited; 0: nothing may be spent
    spend_reset: str  # never, daily, weekly, monthly


class Limited(Protocol):
    """What has limits of its own and of its organisation: a key, and a charge to it."""

    @property
    def rate_limit_rpm(self) -> int | None: ...
    @property
    def spend_limit_nanos(self) -> int | None: ...
    @property
    def max_concurrent_requests(self) -> int | None: ...
    @property
    def rate_limit_tpm(self) -> int | None: ...
    @property
    def model_limits(self) -> ModelLimits: ...
    @property
    def organization(self) -> OrganizationLimits | None: ...


def is_limited(one: Limited) -> bool:
    """Whether the counters can refuse anything of it."""
    return not (
        one.rate_limit_rpm is None
        and one.spend_limit_nanos is None
        and one.max_concurrent_requests is None
        and one.rate_limit_tpm is None
        and not one.model_limits
        and one.organization is None
    )


def is_capped(one: Limited) -> bool:
    """Whether money is a part of that, whatever the model: then what it costs must be known before it is sent."""
    shared = one.organization
    return one.spend_limit_nanos is not None or (shared is not None and shared.spend_limit_nanos is not None)

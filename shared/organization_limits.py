"""What all keys of an organisation may use together: one value on its way from the database to the counters."""

from typing import NamedTuple


class OrganizationLimits(NamedTuple):
    """At least one of the two is set."""

    rate_limit_rpm: int | None  # None: unlimited
    spend_limit_nanos: int | None  # None: unlimited; 0: nothing may be spent
    spend_reset: str  # never, daily, weekly, monthly

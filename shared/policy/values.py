"""The frozen values that policy reads and answers with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, NamedTuple

from msgspec import Struct

from shared.model_limits import ModelLimits
from shared.organization_limits import OrganizationLimits, is_capped
from shared.policy.reasons import ERRORS, MAY_BE_BACK_SECONDS, Reason

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
# What a refusal tells machines, in the types and under the names of the API: a list is a list.
Fact = str | int | bool | None | Sequence["Fact"] | Mapping[str, "Fact"]


class SpendBoost(NamedTuple):
    """A temporary raise of a spend limit."""

    nanos: int
    until: float  # Unix seconds, from which on there is none


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """A proxy key as the data plane sees it: no secret, no ORM, nothing that changes."""

    id: str
    org_id: str
    name: str
    prefix: str
    revoked: bool
    expires_at: float | None  # Unix seconds
    paused: bool
    allowed_providers: frozenset[str]  # empty = all
    allowed_models: tuple[str, ...]  # globs; empty = all
    allowed_networks: tuple[Network, ...]  # empty = any
    rate_limit_rpm: int | None  # None = unlimited, else at least 1
    spend_limit_nanos: int | None  # None = unlimited, 0 = nothing may be spent; with the raise that runs
    spend_reset: str  # "never", "daily", "weekly", "monthly"
    version: int = 1  # of this policy, in the order of its edits
    boost: SpendBoost | None = None  # the raise that ran when this was made
    max_concurrent_requests: int | None = None  # None = unlimited
    organization: OrganizationLimits | None = None  # of all its organisation's keys together; None = none
    zone: str | None = None  # of its organisation, in which periods begin; None = UTC
    rate_limit_tpm: int | None = None  # tokens a minute; None = unlimited
    model_limits: ModelLimits = ()  # of what may be spent on some models
    # As `is_capped` says, kept because every request asks.
    capped: bool = field(init=False, default=False, compare=False, repr=False)
    # The rules that can refuse anything here, kept by `rules.py`: most keys have few, and every request asks.
    compiled: Any = field(init=False, default=None, compare=False, repr=False)
    # The address that its networks last let in, likewise.
    seen_address: Address | None = field(init=False, default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "capped", is_capped(self))

    @property
    def own_limit_nanos(self) -> int | None:
        """The spend limit as it was set, without a raise."""
        if self.boost is None or self.spend_limit_nanos is None:
            return self.spend_limit_nanos
        return self.spend_limit_nanos - self.boost.nanos

    def without_boost(self) -> "KeySnapshot":
        """What it is once its raise has ended."""
        return replace(self, spend_limit_nanos=self.own_limit_nanos, boost=None)


class PolicyQuery(Struct, frozen=True):
    """What one request wants, as far as it is known before anything is charged."""

    client_ip: Address | None  # None: cannot be told, so restricted keys refuse it
    provider: str
    model: str | None  # bare, without provider prefix; None: the body names none
    metered: bool  # False: an endpoint whose cost cannot be told
    free: bool = False  # costs nothing at the provider (lists of models, counting tokens)
    bound_nanos: int | None = None  # most that it can cost; None: the model has no known price
    unpriced: str | None = None  # a feature in use, or a class of what is billed, whose cost nobody can bound
    unbounded: str | None = None  # a feature in use whose tokens nobody can bound
    other_models: bool = False  # one by which models may take part that are not this one
    tokens: int | None = None  # most that it can use, of a key with a limit of them; None: nobody can tell


class Charges(Struct):
    """What an allowed request must be charged with, all or none."""

    rate_limit_rpm: int | None
    spend_limit_nanos: int | None
    bound_nanos: int  # held until it ends; 0 when nothing can be spent or the price is unknown
    organization: OrganizationLimits | None = None
    rate_limit_tpm: int | None = None  # None: no tokens of it are counted
    bound_tokens: int = 0  # counted until it ends
    model_limits: ModelLimits = ()  # those that its model counts against


class Allow(Struct, frozen=True):
    """Yes, if these charges fit."""

    charges: Charges


@dataclass(frozen=True, slots=True)
class Deny:
    """No, for this reason. `facts` fill the reason's public text and stand as fields beside it.

    `words` fill it in their place, or beside them, where people read something else than machines.
    """

    reason: Reason
    facts: dict[str, Fact] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    final: bool = False  # no retry cures this one, whatever its reason says

    @property
    def retry(self) -> bool:
        """Whether a retry may cure it."""
        return ERRORS[self.reason].retry and not self.final

    @property
    def fields(self) -> dict[str, Fact]:
        """What machines are told: the facts, and the wait where it is the same for all of its reason."""
        spec = ERRORS[self.reason]
        if spec.status == 503 and self.retry:
            return {**self.facts, "retry_after_seconds": MAY_BE_BACK_SECONDS}
        return self.facts

    def sentence(self) -> str:
        """What people are told: the reason's public text. A list is told with commas."""
        told = {
            name: ", ".join(map(str, fact)) if isinstance(fact, list) else fact for name, fact in self.facts.items()
        }
        return ERRORS[self.reason].text.format(**{**told, **self.words})

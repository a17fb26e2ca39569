"""A key's requests and refusals, as people and automation see them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared import money
from shared.models import Refusal, UsageRecord

# Why a credential was of no use, where its provider has said so, and each has a row of its own.
SENT_TRIES = frozenset(("refused", "rate_limited", "unavailable"))
MOST_TRIES = 3


@dataclass(frozen=True, slots=True)
class TryView:
    """A credential that a request was sent with."""

    label: str
    last4: str
    why: str | None  # it went on with the next one; None: this one got the answer


@dataclass(frozen=True, slots=True)
class RequestView:
    """One attempt at a provider: a row of the ledger."""

    id: str  # the request's, which the client was told
    key_id: str
    at: datetime
    provider: str
    endpoint: str
    model: str | None  # as asked for
    served_model: str | None
    streamed: bool
    status: int | None  # that the client was given; None: none, or by a release that did not write it down
    provider_status: int | None
    outcome: str
    flags: list[str]
    input_tokens: int
    output_tokens: int
    usage: dict[str, int]
    price: Mapping[str, Any] | None  # what it was priced by
    bound_nanos: int  # what was held for it
    cost_nanos: int
    latency_ms: int
    first_byte_ms: int | None
    client_ip: str | None
    provider_request_id: str | None
    adjusts: str | None
    label: str | None  # the client's own
    tried: tuple[TryView, ...]  # none where there was no choice of credentials

    @property
    def cost_usd(self) -> str:
        return money.to_usd(self.cost_nanos)

    @property
    def went_on_as(self) -> str | None:
        """Of what was not billed and sent once more with another credential: the id that the client was told."""
        return self.id.rpartition("-")[0] if "retried" in self.flags else None

    def row_of_try(self, number: int) -> str | None:
        """The id of the row of its try of this number, from 1; None: nothing of it was sent, or it is this row."""
        return f"{self.id}-{number}" if self.tried[number - 1].why in SENT_TRIES and not self.went_on_as else None


@dataclass(frozen=True, slots=True)
class RefusalView:
    """How often a key was refused for a reason, and the last time of it."""

    key_id: str
    reason: str
    count: int
    last_at: datetime
    status: int
    message: str
    model: str | None
    client_ip: str | None
    request_id: str


def request_view(row: UsageRecord) -> RequestView:
    return RequestView(
        id=row.id,
        key_id=row.key_id,
        at=row.admitted_at,
        provider=row.provider,
        endpoint=row.endpoint,
        model=row.requested_model,
        served_model=row.served_model,
        streamed=row.streamed,
        status=row.sent_status,
        provider_status=row.status,
        outcome=row.outcome,
        flags=list(row.flags),
        input_tokens=row.input_tokens,
        output_tokens=row.output_tokens,
        usage=row.usage,
        price=row.price,
        bound_nanos=row.bound_nanos,
        cost_nanos=row.cost_nanos,
        latency_ms=row.duration_ms,
        first_byte_ms=row.first_byte_ms,
        client_ip=row.client_ip,
        provider_request_id=row.provider_request_id,
        adjusts=row.adjusts,
        label=row.label,
        tried=tuple(TryView(one["label"] or "", one["last4"] or "", one["why"]) for one in row.tried or ()),
    )


def refusal_view(row: Refusal) -> RefusalView:
    return RefusalView(
        key_id=row.key_id,
        reason=row.reason,
        count=row.count,
        last_at=row.last_at,
        status=row.status,
        message=row.sentence,
        model=row.model,
        client_ip=row.client_ip,
        request_id=row.request_id,
    )

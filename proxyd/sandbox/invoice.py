"""What the sandbox would bill, priced here and nowhere else: an opinion of its own, to compare the ledger with."""

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

from genai_prices import Usage, calc_price

from proxyd.sandbox.values import Bill, Slug

MARKER_CHARACTERS = 80
KEY_PREFIX_CHARACTERS, KEY_ENDING_CHARACTERS = 8, 4
KEPT_ATTEMPTS = 200_000

PRICES_ID: dict[Slug, str] = {"openai": "openai", "anthropic": "anthropic", "gemini": "google"}
_NANOS_PER_USD = Decimal(1_000_000_000)


@lru_cache(maxsize=100_000)
def _price_nanos(provider: Slug, model: str, input_tokens: int, output_tokens: int, day: date, *, batch: bool) -> int:
    usage = Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    context = {"processing": "batch"} if batch else None
    found = calc_price(usage, model, provider_id=PRICES_ID[provider], genai_request_timestamp=at, price_context=context)
    price = found.total_price
    return int((price * _NANOS_PER_USD).to_integral_value(rounding=ROUND_CEILING))


def price_nanos(provider: Slug, model: str, input_tokens: int, output_tokens: int, *, batch: bool = False) -> int:
    """Cost in nano-dollars, rounded up once. Raises LookupError for a model without a price."""
    return _price_nanos(provider, model, input_tokens, output_tokens, datetime.now(UTC).date(), batch=batch)


@dataclass(slots=True)
class Attempt:
    """One request as the provider saw it. Changes until `finished`."""

    id: str
    at: float  # Unix seconds
    provider: Slug
    method: str
    path: str
    header_names: tuple[str, ...]
    auth_kind: str
    key_prefix: str
    key_ending: str
    body_bytes: int
    body_sha256: str
    saw_router_secret: bool  # a proxy key or management token came through: never right
    model: str = ""
    stream: bool = False
    status: int = 0
    marker: str = ""  # how the last user message begins
    behaviour: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nanos: int = 0
    events_sent: int = 0
    produced_tokens: int = 0  # of output, in the events that were sent
    client_aborted: bool = False
    cut: bool = False  # the sandbox broke off on purpose
    finished: bool = False
    ended_at: float | None = None  # Unix seconds, of an answer over HTTP

    def charge(self, bill: Bill, output_tokens: int) -> None:
        """Bill the whole input and this much output."""
        self.input_tokens = bill.input_tokens
        self.output_tokens = output_tokens
        if bill.nanos is None:
            self.cost_nanos = price_nanos(self.provider, bill.model, bill.input_tokens, output_tokens)
        else:
            self.cost_nanos = bill.nanos

    def charge_batch(self, bill: Bill) -> None:
        """Bill all of it, as a line of a batch."""
        self.input_tokens, self.output_tokens = bill.input_tokens, bill.output_tokens
        self.cost_nanos = price_nanos(self.provider, bill.model, bill.input_tokens, bill.output_tokens, batch=True)

    def charge_counts(self, model: str, **counts: int) -> None:
        """Bill a usage of which some is sound."""
        self.input_tokens, self.output_tokens = counts["input_tokens"], counts["output_tokens"]
        price = calc_price(Usage(**counts), model, provider_id=PRICES_ID[self.provider]).total_price
        self.cost_nanos = int((price * _NANOS_PER_USD).to_integral_value(rounding=ROUND_CEILING))

    def charge_nothing(self) -> None:
        """Bill nothing: the provider failed before it owned up to any usage."""
        self.input_tokens = self.output_tokens = self.cost_nanos = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "at": self.at,
            "provider": self.provider,
            "method": self.method,
            "path": self.path,
            "model": self.model,
            "stream": self.stream,
            "status": self.status,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": self.output_tokens},
            "cost_nanos": self.cost_nanos,
            "marker": self.marker,
            "behaviour": self.behaviour,
            "events_sent": self.events_sent,
            "client_aborted": self.client_aborted,
            "cut": self.cut,
            "finished": self.finished,
            "ended_at": self.ended_at,
            "header_names": self.header_names,
            "auth_kind": self.auth_kind,
            "key_prefix": self.key_prefix,
            "key_ending": self.key_ending,
            "body_bytes": self.body_bytes,
            "body_sha256": self.body_sha256,
            "saw_router_secret": self.saw_router_secret,
        }


@dataclass(slots=True)
class Invoice:
    """Every attempt since the last `clear`; the oldest details go first when there are very many."""

    attempts: deque[Attempt] = field(default_factory=lambda: deque(maxlen=KEPT_ATTEMPTS))
    count: int = 0
    forgotten_nanos: int = 0

    def add(self, attempt: Attempt) -> None:
        if len(self.attempts) == KEPT_ATTEMPTS:
            self.forgotten_nanos += self.attempts[0].cost_nanos
        self.attempts.append(attempt)
        self.count += 1

    def clear(self) -> None:
        self.attempts.clear()
        self.count = self.forgotten_nanos = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "attempts": [attempt.as_json() for attempt in self.attempts],
            "count": self.count,
            "total_nanos": self.forgotten_nanos + sum(attempt.cost_nanos for attempt in self.attempts),
        }

"""What a journal holds, as values: attempts that began, and how each ended."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.counters import End, Hold, TokenChange


class LedgerUnavailable(Exception):
    """The database that holds the ledger does not answer, or is not as it was left."""


class Attempt(NamedTuple):
    """What is known before a request is sent to a provider."""

    id: str
    org_id: str
    key_id: str
    provider: str
    endpoint: str
    requested_model: str | None
    streamed: bool
    bound_nanos: int  # the most it can cost
    held_nanos: int  # what the counters hold for it; 0 when they were not asked
    day: int  # of admission, in the organisation's time zone; an ordinal
    second: int  # steady second of admission, by which the request rate counts it; -1 when it does not
    admitted_at: float  # Unix seconds
    client_ip: str | None
    # Journals of formats 1 and 2 end here.
    trace_parent: str | None = None  # the span that the client named, if traces are made and it named one
    label: str | None = None  # the client's own; see `shared.labels`
    # Those of format 3 here.
    held_tokens: int = 0  # what the counters count for it: the most that it can use, of a key with a limit of tokens

    @property
    def is_counted(self) -> bool:
        """Whether the counters admitted it, so that it is one of the requests in flight."""
        return self.second >= 0

    @property
    def hold(self) -> Hold:
        """What the counters hold for it, if they admitted it."""
        return Hold(self.key_id, self.day, self.held_nanos, 1, self.org_id)


class Try(NamedTuple):
    """A credential that a request was sent with, and why it went on with another one; None: this one was answered."""

    label: str
    last4: str
    why: str | None  # one of WHY


WHY = (
    "refused",  # the provider does not take the credential: 401
    "rate_limited",  # it takes no more requests with it for now: 429
    "unavailable",  # it is overloaded: 503
    "unreachable",  # no connection came about, so nothing was sent
    "timeout",  # likewise, and not in time
)


class Settlement(NamedTuple):
    """How an attempt ended and what it cost."""

    status: int | None  # the provider's HTTP status; None when it gave none
    outcome: str  # one of OUTCOMES
    flags: tuple[str, ...]
    usage: dict[str, int]
    served_model: str | None
    service_tier: str | None
    price: dict[str, Any] | None
    cost_nanos: int
    duration_ms: int  # from the head of the request until this was known
    provider_request_id: str | None
    # Journals of format 1 end here.
    first_byte_ms: int | None = None  # from the same moment until the provider's answer began; None: it never did
    sent_status: int | None = None  # HTTP status of the answer that the client is given; None: it is given none
    # ... and those of the one after that here. None: there was no choice of credentials.
    tried: tuple[Try, ...] | None = None


OUTCOMES = (
    "ok",  # complete answer
    "provider_error",  # the provider answered 4xx or 5xx, or an error event inside a stream
    "client_gone",  # the client went away first
    "upstream_truncated",  # the answer broke off
    "unknown",  # sent, but no answer came
    "crash",  # our worker died meanwhile
    "unsent",  # of an adjustment alone: what had been charged as an estimate was never sent
)


class EndRecord(NamedTuple):
    """One END of a journal: complete in itself, so that whoever imports it needs nothing that came before.

    `settlement` is None when nothing was sent: the hold is taken back, and there is no row.
    """

    number: int  # counts the ENDs of a journal, from 1
    seq: int  # of the attempt, within the journal
    attempt: Attempt
    settlement: Settlement | None

    def for_counters(self, rows: Sequence[str] = ()) -> End:
        """As the counters hear of it; `rows` of the limits for models that it counts against."""
        attempt, settlement = self.attempt, self.settlement
        cost_nanos = 0 if settlement is None else settlement.cost_nanos
        requests = 1 if attempt.second >= 0 else 0  # `is_counted`, which costs a call
        tokens = None
        if attempt.held_tokens and (more := used_tokens(attempt, settlement) - attempt.held_tokens):
            tokens = TokenChange(attempt.second, more)
        return End(
            self.number, attempt.key_id, attempt.day, attempt.held_nanos, cost_nanos, -1, requests, attempt.org_id,
            tokens, rows,
        )  # fmt: skip


def used_tokens(attempt: Attempt, settlement: Settlement | None) -> int:
    """Tokens of input and output that an attempt has used, as its key's limit counts them.

    Where nobody could read or estimate them (its worker died, a fault of ours), the most that it can have used.
    """
    if settlement is None:
        return 0
    usage = settlement.usage
    if not usage and "estimated" in settlement.flags:
        return attempt.held_tokens
    return usage.get("input_tokens", 0) + usage.get("output_tokens", 0)


def crashed(attempt: Attempt, progress_nanos: int | None) -> Settlement:
    """How an attempt ends whose worker died.

    It may have been answered in full to nobody. It is charged what was noted of its progress; without a note, its
    bound, so that the spend limit stays a maximum.
    """
    return Settlement(
        status=None,
        outcome="crash",
        flags=("crash", "estimated"),
        usage={},
        served_model=None,
        service_tier=None,
        price=None,
        cost_nanos=attempt.bound_nanos if progress_nanos is None else progress_nanos,
        duration_ms=0,
        provider_request_id=None,
    )

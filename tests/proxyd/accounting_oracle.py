"""What the accounting must come to, told by a list of calls and nothing else; and the provider's own invoice."""

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from shared.counters import Charge, moment_of, period_of_day
from shared.model_limits import ModelLimits
from shared.organization_limits import OrganizationLimits
from shared.policy import limits_for

WINDOW_SECONDS = 60
PROVIDER, MODEL = "openai", "gpt-4o"  # of calls that name no other
USED_TOKENS = 8  # by each call that is answered, as `ledger_kit.settlement` tells it


@dataclass
class Policy:
    """A key as the database has it, and what it shares with all others."""

    key_id: str
    version: int = 1
    limit_nanos: int | None = 1_000
    rpm: int | None = None
    reset: str = "daily"
    most: int | None = None
    tpm: int | None = None
    models: ModelLimits = ()
    org_version: int = 1
    together: OrganizationLimits | None = None

    def charge(self, bound_nanos: int, model: str = MODEL) -> Charge:
        return Charge(
            self.key_id, "org_1", self.version, self.org_version, self.rpm, self.limit_nanos, self.reset, bound_nanos,
            max_concurrent_requests=self.most, organization=self.together, rate_limit_tpm=self.tpm,
            bound_tokens=self.tokens(bound_nanos), model_limits=limits_for(self.models, PROVIDER, model),
        )  # fmt: skip

    def tokens(self, bound_nanos: int) -> int:
        """What is counted of a call: as many as nano-dollars, if there is a limit."""
        return 0 if self.tpm is None else bound_nanos


@dataclass
class Call:
    """One attempt, from its admission on."""

    id: str
    seq: int
    key_id: str
    worker_id: str
    day: int
    second: int
    bound_nanos: int
    held: bool  # the counters were asked
    state: Literal["open", "ok", "void", "crash"] = "open"
    cost_nanos: int = 0
    progress_nanos: int | None = None
    bound_tokens: int = 0  # of a key with a limit of them
    model: str = MODEL
    imported_nanos: int | None = None  # what it was charged when a copy was imported in which it was open

    @property
    def estimate_nanos(self) -> int:
        return self.bound_nanos if self.progress_nanos is None else self.progress_nanos

    @property
    def known_nanos(self) -> int:
        """The least that counters which are right may take it for."""
        nanos = self.bound_nanos if self.state == "open" else self.cost_nanos
        return nanos if self.imported_nanos is None else min(nanos, self.imported_nanos)

    @property
    def tokens(self) -> int:
        """What it weighs, if tokens of it are counted."""
        if self.state == "void" or not self.bound_tokens:
            return 0
        return USED_TOKENS if self.state == "ok" else self.bound_tokens

    def crash(self) -> None:
        self.state = "crash"
        self.cost_nanos = self.estimate_nanos


@dataclass
class Oracle:
    """All calls, and what the provider bills for those that were answered."""

    calls: dict[str, Call] = field(default_factory=dict)
    invoice: dict[str, int] = field(default_factory=dict)

    def open_of(self, worker_id: str) -> list[Call]:
        return [call for call in self.calls.values() if call.state == "open" and call.worker_id == worker_id]

    def settle(self, call: Call, cost_nanos: int) -> None:
        call.state, call.cost_nanos = "ok", cost_nanos
        self.invoice[call.id] = cost_nanos

    def liability(self, key_id: str, reset: str, day: int, counts: "Callable[[Call], bool] | None" = None) -> int:
        """The most that a key's period can come to by what was admitted through the counters, of the calls that count."""
        period = period_of_day(reset, day)
        total = 0
        for call in self.calls.values():
            if (
                call.key_id == key_id
                and call.held
                and (counts is None or counts(call))
                and (period.resets_on is None or period.start <= call.day < period.end)
            ):
                total += call.known_nanos
        return total

    def in_flight(self, key_id: str, unknown: Collection[str] = ()) -> int:
        """Requests that were admitted through counters that still know of them, and have not ended.

        Of workers that are unknown nothing counts.
        """
        return sum(
            call.key_id == key_id
            and call.held
            and call.state == "open"
            and call.imported_nanos is None
            and call.worker_id not in unknown
            for call in self.calls.values()
        )

    def requests(self, key_id: str, second: int, unknown: Collection[str] = ()) -> int:
        """Requests that weigh in the minute before a steady second, but for those of workers that are unknown now."""
        return sum(
            call.key_id == key_id
            and call.held
            and second - WINDOW_SECONDS <= call.second
            and call.worker_id not in unknown
            for call in self.calls.values()
        )

    def tokens(self, key_id: str, second: int, unknown: Collection[str] = (), *, told: bool = True) -> int:
        """Tokens that weigh, likewise. Not told: at least, while the counters may not know how calls have ended."""
        return sum(
            call.tokens if told else min(call.tokens, call.bound_tokens)
            for call in self.calls.values()
            if call.key_id == key_id and second - WINDOW_SECONDS <= call.second and call.worker_id not in unknown
        )

    def spent_by_day(self, key_id: str, counts: Callable[[Call], bool] | None = None) -> dict[int, int]:
        days: dict[int, int] = defaultdict(int)
        for call in self.calls.values():
            if call.key_id == key_id and call.cost_nanos and (counts is None or counts(call)):
                days[call.day] += call.cost_nanos
        return dict(days)

    def held_by_day(self, key_id: str, counts: Callable[[Call], bool] | None = None) -> dict[int, int]:
        days: dict[int, int] = defaultdict(int)
        for call in self.calls.values():
            if counts is not None and not counts(call):
                continue
            if call.key_id == key_id and call.state == "open" and call.held and call.bound_nanos:
                days[call.day] += call.bound_nanos
        return dict(days)

    def rows(self) -> dict[str, tuple[str, int]]:
        """The ledger once everything is in it, without its adjustments."""
        return {
            call.id: (call.state, call.cost_nanos) if call.imported_nanos is None else ("crash", call.imported_nanos)
            for call in self.calls.values()
            if call.state in ("ok", "crash") or call.imported_nanos is not None
        }

    def last_words(self) -> dict[str, tuple[str, int]]:
        """The same with them."""
        ended = {
            call.id: (call.state, call.cost_nanos) for call in self.calls.values() if call.state in ("ok", "crash")
        }
        void = [call for call in self.calls.values() if call.state == "void" and call.imported_nanos is not None]
        return ended | {call.id: ("unsent", 0) for call in void}


def today(wall: float) -> int:
    return moment_of(wall, 0).day

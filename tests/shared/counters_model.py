"""A small model of journals, a ledger and edits, which foretells what the counters answer and hold."""

from collections import Counter
from dataclasses import dataclass, field

from counters_kit import FakeClock, Home

from shared.counters import (
    WINDOW_SECONDS,
    Admitted,
    Batch,
    Charge,
    End,
    Hold,
    Missing,
    RateBucket,
    RateLimited,
    Rebuilding,
    SpendExceeded,
    SpendHeld,
    Stale,
    Unseeded,
)
from shared.counters.rows import period_of_day

KEYS = ("a", "b")


@dataclass(frozen=True)
class Policy:
    version: int = 1
    rpm: int | None = None
    limit: int | None = 100
    reset: str = "daily"


@dataclass
class Simulated:
    """A worker: its journal, and what it has not told the counters yet."""

    worker_id: str
    generation: int  # that it is in
    alive: bool = True
    out: bool = False  # closed by the ledger writer
    number: int = 0
    journal: list[End] = field(default_factory=list)
    imported: int = 0  # of the journal, by the ledger
    cut: int = 0  # what of it the ledger had when this generation was cut
    pending: list[End] = field(default_factory=list)
    open: dict[int, Hold] = field(default_factory=dict)  # begun attempts, by seq
    recent: list[tuple[str, int]] = field(default_factory=list)
    doubtful: Batch | None = None  # the answer to it was lost
    unknown: list[Hold] = field(default_factory=list)  # what that batch holds
    policies: dict[str, Policy] = field(default_factory=dict)

    def end(self, seq: int, cost: int) -> None:
        held = self.open.pop(seq)
        self.journal.append(End(len(self.journal) + 1, held.key_id, held.day, held.nanos, cost))
        self.pending.append(self.journal[-1])


class Oracle:
    """All that is known of one data directory, whatever the counters say."""

    home: Home
    generation: int
    live: bool
    seeded: set[str]
    known: dict[str, int]  # key -> version of its policy in this generation
    org_is_known: bool
    used: dict[str, list[int]]  # key -> steady seconds of requests that this generation knows of
    policies: dict[str, Policy]  # as they are in the database
    everybody: list[Simulated]
    workers: list[Simulated]  # who has not been taken out

    @property
    def clock(self) -> FakeClock:
        return self.home.clock

    def truth(self, key: str) -> tuple[Counter[int], Counter[int]]:
        """Spent and held by day."""
        spent, held = Counter[int](), Counter[int]()
        for worker in self.everybody:
            inside = worker.generation == self.generation
            for end in worker.journal:
                known = key in self.seeded if end.number <= worker.cut else inside and end not in worker.pending
                if end.key_id == key and known:
                    spent[end.day] += end.cost_nanos
            if inside and not worker.out:
                for hold in [*worker.open.values(), *worker.unknown]:
                    held[hold.day] += hold.nanos * (hold.key_id == key)
                for end in worker.pending:
                    held[end.day] += end.held_nanos * (end.key_id == key)
        return spent, held

    def in_period(self, key: str, reset: str) -> tuple[int, int]:
        period, (spent, held) = period_of_day(reset, self.clock.moment.day), self.truth(key)
        if reset == "never":
            return spent.total(), held.total()
        days = range(period.start, period.end)
        return sum(spent[day] for day in days), sum(held[day] for day in days)

    def foretell(self, asked: Charge) -> type[object]:
        key, known = asked.key_id, self.known.get(asked.key_id)
        if asked.loaded_in != self.generation and (known is None or not self.org_is_known):
            return Missing
        self.org_is_known = True
        if known is not None and asked.version < known:
            return Stale
        self.known[key] = asked.version
        if not self.live and (asked.rate_limit_rpm, asked.spend_limit_nanos) != (None, None):
            return Rebuilding
        full = asked.rate_limit_rpm is not None and self.weighing(key) >= asked.rate_limit_rpm
        if (limit := asked.spend_limit_nanos) is not None:
            if key not in self.seeded:
                return Unseeded
            spent, held = self.in_period(key, asked.spend_reset)
            if spent + held + asked.bound_nanos > limit:
                return RateLimited if full else SpendExceeded if spent + asked.bound_nanos > limit else SpendHeld
        return RateLimited if full else Admitted

    def weighing(self, key: str) -> int:
        return sum(second >= self.clock.moment.second - WINDOW_SECONDS for second in self.used[key])

    def recent(self, worker: Simulated) -> list[RateBucket]:
        oldest = self.clock.moment.second - WINDOW_SECONDS
        counts = Counter(one for one in worker.recent if one[1] >= oldest)
        return [RateBucket(key, second, count) for (key, second), count in counts.items()]

    def bring(self, worker: Simulated) -> None:
        for key, second in worker.recent:
            self.used[key].append(second)

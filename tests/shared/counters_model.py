"""A small model of journals, a ledger and edits, which foretells what the counters answer and hold."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from counters_kit import FakeClock, Home, charge

from shared.counters import (
    WINDOW_SECONDS,
    Admitted,
    Batch,
    Charge,
    End,
    Hold,
    Missing,
    OrganizationRefused,
    RateBucket,
    RateLimited,
    Rebuilding,
    SpendExceeded,
    SpendHeld,
    Stale,
    TokenChange,
    TokenRateLimited,
    TooManyConcurrent,
    Unseeded,
    period_of_day,
)
from shared.organization_limits import OrganizationLimits

KEYS = ("a", "b")
ORG = "org"


@dataclass(frozen=True)
class Policy:
    version: int = 1
    rpm: int | None = None
    limit: int | None = 100
    reset: str = "daily"
    most: int | None = None
    tpm: int | None = None


@dataclass(frozen=True)
class Together:
    """What both keys may use, as it is in the database."""

    version: int = 1
    limits: OrganizationLimits | None = None


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
    counted: dict[int, TokenChange] = field(default_factory=dict)  # of begun attempts: what was counted, and when
    tokens: Counter[tuple[str, int]] = field(default_factory=Counter)  # what weighs of it in each second, as is known
    doubtful: Batch | None = None  # the answer to it was lost
    unknown: list[Hold] = field(default_factory=list)  # what that batch holds
    policies: dict[str, Policy] = field(default_factory=dict)
    together: Together = field(default_factory=Together)

    def end(self, seq: int, cost: int) -> None:
        """It used as many tokens as nanos."""
        held, counted = self.open.pop(seq), self.counted.pop(seq, None)
        change = None
        if counted is not None:
            change = TokenChange(counted.second, cost - counted.tokens)
            self.tokens[held.key_id, counted.second] += change.tokens
        end = End(len(self.journal) + 1, held.key_id, held.day, held.nanos, cost, org_id=ORG, tokens=change)
        self.journal.append(end)
        self.pending.append(end)


class Oracle:
    """All that is known of one data directory, whatever the counters say."""

    home: Home
    generation: int
    seq: int
    live: bool
    seeded: set[str]
    known: dict[str, int]  # key -> version of its policy in this generation
    org_known: int  # version of what both keys share in this generation; 0: nobody has told it
    tracked: bool  # a row of the organisation is kept in this generation
    org_seeded: bool
    together: Together  # as it is in the database
    tokens: dict[str, Counter[int]]  # key -> steady second -> tokens that this generation knows of
    used: dict[str, list[int]]  # key -> steady seconds of requests that this generation knows of
    policies: dict[str, Policy]  # as they are in the database
    everybody: list[Simulated]
    workers: list[Simulated]  # who has not been taken out

    @property
    def clock(self) -> FakeClock:
        return self.home.clock

    def truth(self, id_: str) -> tuple[Counter[int], Counter[int]]:
        """Spent and held by day, of a key or of all."""
        spent, held = Counter[int](), Counter[int]()
        seeded = self.org_seeded if id_ == ORG else id_ in self.seeded
        for worker in self.everybody:
            inside = worker.generation == self.generation
            for end in worker.journal:
                known = seeded if end.number <= worker.cut else inside and end not in worker.pending
                if id_ in (end.key_id, ORG) and known:
                    spent[end.day] += end.cost_nanos
            for hold in self.holds(worker):
                held[hold.day] += hold.nanos * (id_ in (hold.key_id, ORG))
        return spent, held

    def posted(self, id_: str) -> Counter[int]:
        """What the ledger had when the generation was cut, by day."""
        days = Counter[int]()
        for end in [end for worker in self.everybody for end in worker.journal[: worker.cut]]:
            if id_ in (end.key_id, ORG):
                days[end.day] += end.cost_nanos
        return days

    def holds(self, worker: Simulated) -> list[Hold]:
        """What the counters have to hold for a worker, one for each request in flight."""
        if worker.generation != self.generation or worker.out:
            return []
        ended = [Hold(end.key_id, end.day, end.held_nanos) for end in worker.pending]
        return [*worker.open.values(), *worker.unknown, *ended]

    def in_flight(self, id_: str) -> int:
        return sum(id_ in (hold.key_id, ORG) for worker in self.everybody for hold in self.holds(worker))

    def in_period(self, key: str, reset: str) -> tuple[int, int]:
        period, (spent, held) = period_of_day(reset, self.clock.moment.day), self.truth(key)
        if reset == "never":
            return spent.total(), held.total()
        days = range(period.start, period.end)
        return sum(spent[day] for day in days), sum(held[day] for day in days)

    def asked(self, worker: Simulated, key: str, bound: int) -> Charge:
        policy, self.seq = worker.policies[key], self.seq + 1
        known = worker.policies[key], worker.together
        loaded_in = self.generation if known == (self.policies[key], self.together) else 0
        return charge(
            key, rpm=policy.rpm, limit=policy.limit, reset=policy.reset, bound=bound, most=policy.most,
            version=policy.version, loaded_in=loaded_in, seq=self.seq,
            org_version=worker.together.version, together=worker.together.limits, tpm=policy.tpm,
            tokens=0 if policy.tpm is None else bound,
        )  # fmt: skip

    def foretell(self, asked: Charge) -> type[object]:
        key, fresh = asked.key_id, asked.loaded_in == self.generation
        if (old := self.overtaken(self.org_known, asked.org_version, fresh)) is not None:
            return old
        self.org_known = asked.org_version
        if (old := self.overtaken(self.known.get(key, 0), asked.version, fresh)) is not None:
            return old
        self.known[key] = asked.version
        limit, most, tpm = asked.spend_limit_nanos, asked.max_concurrent_requests, asked.rate_limit_tpm
        if not self.live and (asked.rate_limit_rpm, limit, most, tpm) != (None, None, None, None):
            return Rebuilding
        full = asked.rate_limit_rpm is not None and self.weighing(key) >= asked.rate_limit_rpm
        tokens = asked.bound_tokens
        if tpm is not None and tokens and self.weighing_tokens(key) + tokens > tpm:
            return RateLimited if full and tokens <= tpm else TokenRateLimited
        if most is not None and self.in_flight(key) >= most:
            return RateLimited if full else TooManyConcurrent
        if limit is not None:
            if key not in self.seeded:
                return Unseeded
            if (refused := self.money_refuses(key, limit, asked.spend_reset, asked.bound_nanos)) is not None:
                return RateLimited if full else refused
        if full:
            return RateLimited
        return Admitted if asked.organization is None else self.foretell_together(asked, asked.organization)

    @staticmethod
    def overtaken(known: int, version: int, fresh: bool) -> type[object] | None:
        """What is answered to a version that is not the one which the counters know, or may not be."""
        if not known and not fresh:
            return Missing
        return Stale if version < known else None

    def foretell_together(self, asked: Charge, limits: OrganizationLimits) -> type[object]:
        if not self.live or not self.tracked:
            return Rebuilding
        rpm, limit, reset = limits
        if limit is not None and not self.org_seeded:
            return Unseeded
        refused = limit is not None and self.money_refuses(ORG, limit, reset, asked.bound_nanos) is not None
        full = rpm is not None and sum(self.weighing(key) for key in KEYS) >= rpm
        return OrganizationRefused if refused or full else Admitted

    def money_refuses(self, id_: str, limit: int, reset: str, bound: int) -> type[object] | None:
        spent, held = self.in_period(id_, reset)
        if spent + held + bound <= limit:
            return None
        return SpendExceeded if spent + bound > limit else SpendHeld

    def note_admitted(self, worker: Simulated, asked: Charge, answer: Admitted, *, lost: bool) -> None:
        """It stands in the counters, and in its journal if their answer came; no limit is passed by it."""
        assert answer.day == self.clock.moment.day
        self.used[asked.key_id].append(answer.second)
        self.tokens[asked.key_id][answer.second] += asked.bound_tokens
        tpm = asked.rate_limit_tpm
        assert (answer.tokens is None) == (tpm is None)
        assert not asked.bound_tokens or tpm is None or self.weighing_tokens(asked.key_id) <= tpm
        hold = Hold(asked.key_id, answer.day, asked.bound_nanos, 1, ORG)
        worker.unknown.append(hold)
        spent, held = self.in_period(asked.key_id, asked.spend_reset)
        assert asked.spend_limit_nanos is None or spent + held <= asked.spend_limit_nanos, "I2"
        if answer.spend is not None:
            assert answer.spend[1:3] == (spent, held)
        most, shared = asked.max_concurrent_requests, asked.organization
        assert most is None or self.in_flight(asked.key_id) <= most
        if shared is not None and shared.spend_limit_nanos is not None:
            spent, held = self.in_period(ORG, shared.spend_reset)
            assert spent + held <= shared.spend_limit_nanos, "I2, of all keys"
            assert answer.organization_spend is not None
            assert answer.organization_spend[1:3] == (spent, held)
        if not lost:
            worker.unknown.remove(hold)
            worker.open[asked.seq] = hold
            worker.recent.append((asked.key_id, answer.second))
            if tpm is not None:
                worker.counted[asked.seq] = TokenChange(answer.second, asked.bound_tokens)
                worker.tokens[asked.key_id, answer.second] += asked.bound_tokens

    def weighing(self, key: str) -> int:
        return sum(second >= self.clock.moment.second - WINDOW_SECONDS for second in self.used[key])

    def weighing_tokens(self, key: str) -> int:
        oldest = self.clock.moment.second - WINDOW_SECONDS
        return sum(tokens for second, tokens in self.tokens[key].items() if second >= oldest)

    def count_tokens(self, ends: Sequence[End]) -> None:
        """The counters have been told how these ended."""
        for end in ends:
            if end.tokens is not None:
                self.tokens[end.key_id][end.tokens.second] += end.tokens.tokens

    def recent(self, worker: Simulated) -> list[RateBucket]:
        oldest = self.clock.moment.second - WINDOW_SECONDS
        counts = Counter(one for one in worker.recent if one[1] >= oldest)
        tokens = worker.tokens
        return [RateBucket(key, second, count, ORG, tokens[key, second]) for (key, second), count in counts.items()]

    def bring(self, worker: Simulated) -> None:
        for key, second in worker.recent:
            self.used[key].append(second)
        for (key, second), tokens in worker.tokens.items():
            self.tokens[key][second] += tokens

"""What tests of the counters share: a clock of their own, charges with few words, a data directory, and a worker."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from shared.counters import (
    Batch,
    BatchContext,
    Charge,
    Counters,
    Decision,
    End,
    KeyRow,
    Moment,
    Seed,
    SharedState,
    TokenChange,
    connect,
    moment_of,
    spend_of,
)
from shared.organization_limits import OrganizationLimits

NOON = 1_800_014_400.0  # 2027-01-15T12:00:00Z, a Friday
TODAY = date(2027, 1, 15).toordinal()
DAY = 86_400.0
BOOT = "one boot of the machine"


@dataclass
class FakeClock:
    """Both clocks, standing still until they are told otherwise."""

    wall_now: float = NOON
    steady_now: float = 5_000.0

    def wall(self) -> float:
        return self.wall_now

    def steady(self) -> float:
        return self.steady_now

    def pass_by(self, seconds: float) -> None:
        self.wall_now += seconds
        self.steady_now += seconds

    @property
    def moment(self) -> Moment:
        return moment_of(self.wall_now, self.steady_now)


def charge(
    key_id: str = "key",
    *,
    rpm: int | None = None,
    limit: int | None = None,
    reset: str = "never",
    bound: int = 0,
    version: int = 1,
    org: str = "org",
    org_version: int = 1,
    loaded_in: int = 0,
    seq: int = 0,
    most: int | None = None,
    together: OrganizationLimits | None = None,
    tpm: int | None = None,
    tokens: int = 0,
    zone: str | None = None,
) -> Charge:
    return Charge(
        key_id, org, version, org_version, rpm, limit, reset, bound, loaded_in, seq,
        max_concurrent_requests=most, organization=together, rate_limit_tpm=tpm, bound_tokens=tokens, zone=zone,
    )  # fmt: skip


def together(rpm: int | None = None, limit: int | None = None, reset: str = "never") -> OrganizationLimits:
    """What all keys of an organisation may use."""
    return OrganizationLimits(rpm, limit, reset)


@dataclass
class Home:
    """One data directory with counters in it, at whatever URL they have."""

    data_dir: Path
    url: str
    clock: FakeClock = field(default_factory=FakeClock)
    shared_state: SharedState = field(init=False)
    opened: list[Counters] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shared_state = SharedState.create(self.data_dir, BOOT)

    def connect(self, *, attached: bool = True) -> Counters:
        """Counters as another process would have them."""
        counters = connect(self.url, clock=self.clock)
        counters.attach(self.shared_state if attached else None)
        self.opened.append(counters)
        return counters

    def close(self) -> None:
        for counters in self.opened:
            counters.close()

    def live(self, generation: int = 1, *keys: str, tracked: Collection[str] = ()) -> Counters:
        """Counters in which limits are enforced, with these keys known and seeded with nothing.

        Of the organisations that are tracked a row is kept, seeded likewise.
        """
        counters = self.connect()
        counters.begin_generation(generation, {}, tracked)
        counters.go_live(generation)
        counters.publish(generation, dict.fromkeys(keys, 1), {"org": 1})
        counters.seed(generation, [Seed(id_, 0, {}) for id_ in (*keys, *tracked)])
        return counters


@dataclass
class Worker:
    """Numbers its batches and ends as a worker of the proxy does."""

    counters: Counters
    worker_id: str = "w1"
    generation: int = 1
    number: int = 0
    end_number: int = 0

    def register(self) -> "Worker":
        self.counters.register(self.worker_id, self.generation)
        return self

    def end(
        self, key_id: str = "key", *, day: int, held: int = 0, cost: int = 0, tokens: tuple[int, int] | None = None
    ) -> End:
        """`tokens`: the steady second of its admission, and how many more were used than were counted."""
        self.end_number += 1
        change = None if tokens is None else TokenChange(*tokens)
        return End(self.end_number, key_id, day, held, cost, org_id="org", tokens=change)

    def batch(self, charges: Sequence[Charge] = (), ends: Sequence[End] = ()) -> Batch:
        return Batch(self.worker_id, self.generation, self.number + 1, ends, charges)

    def send(self, *charges: Charge, ends: Sequence[End] = ()) -> list[Decision]:
        answers = self.counters.apply_batch(self.batch(charges, ends))
        self.number += 1
        return answers

    def ask(self, charge: Charge) -> Decision:
        (answer,) = self.send(charge)
        return answer


def on_both(tmp_path: Path, url: str, told: Callable[[Home, int], list[Decision]], seed: int) -> set[type[Decision]]:
    """The kinds of answers that a story gets, which are the same on a file and on the server at a URL."""
    answers = []
    for name, at in (("a", f"sqlite:///{tmp_path}/counters.db"), ("b", url)):
        (tmp_path / name).mkdir()
        home = Home(tmp_path / name, at)
        answers.append(told(home, seed))
        home.close()
    assert answers[0] == answers[1]
    return {type(answer) for answer in answers[0]}


# What tests ask of answers and counters


def kind(answer: Decision | None) -> type[object] | None:
    return None if answer is None else type(answer)


def kinds(answers: Sequence[Decision]) -> list[type[object]]:
    return [type(answer) for answer in answers]


def money(counters: Counters, key: str = "key") -> tuple[int, int, int]:
    """Spent and held this month, and spent for ever."""
    found = spend_of(counters.rows([key])[key], counters.moment(), "monthly", None)
    return found.period.spent_nanos, found.period.held_nanos, found.lifetime_nanos


def in_flight(counters: Counters, key: str = "key") -> int:
    """Requests that were admitted and have not ended."""
    return counters.rows([key])[key].in_flight


def used(counters: Counters, key: str = "key") -> int:
    """Requests that weigh now."""
    return counters.rows([key])[key].window.count(counters.moment().second)


def tokens_used(counters: Counters, key: str = "key") -> int:
    """Tokens that weigh now."""
    window = counters.rows([key])[key].tokens
    return 0 if window is None else window.count(counters.moment().second)


def row(*, version: int = 1, seeded: bool = True, lifetime: int = 0, spent: int = 0, held: int = 0) -> KeyRow:
    """A key's row with money on `TODAY`."""
    days = {TODAY: [spent, held]} if spent or held else {}
    return KeyRow(version, lifetime + spent, days, {}, seeded=seeded)


def batch_context(clock: FakeClock | None = None, *, live: bool = True, generation: int = 4) -> BatchContext:
    return BatchContext(generation, live, (clock or FakeClock()).moment)

"""The invariants of money (I1-I3, I9-I13) and the request window, against a small model, through losses and crashes.

The model knows what every journal says. From that alone it foretells each answer, and what the counters have to hold.
"""

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

from counters_kit import DAY, Home, together
from counters_model import KEYS, ORG, Oracle, Policy, Simulated, Together
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from shared.counters import (
    Admitted,
    Batch,
    End,
    OrganizationRefused,
    RateLimited,
    Seed,
    SpendExceeded,
    SpendHeld,
    TokenChange,
    TokenRateLimited,
    TooManyConcurrent,
    WorkerReplay,
    spend_of,
)
from shared.periods import RESETS

# Refused for good.
TOLD = RateLimited | SpendExceeded | SpendHeld | TokenRateLimited | TooManyConcurrent | OrganizationRefused
WORKERS = st.sampled_from([0, 1])
AMOUNTS = st.integers(0, 60)
LIMITS = st.none() | st.integers(0, 150)


class Story(Oracle, RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.home = Home(Path(self.folder.name), f"sqlite:///{self.folder.name}/counters.db")
        self.counters = self.home.connect()
        self.policies = dict.fromkeys(KEYS, Policy())
        self.together = Together()
        self.everybody: list[Simulated] = []
        self.workers: list[Simulated] = []
        self.seq = self.generation = 0
        self.rebuild(0)
        self.hire()
        self.hire()

    def hire(self) -> None:
        worker = Simulated(
            f"w{len(self.everybody)}", self.generation, policies=dict(self.policies), together=self.together
        )
        self.counters.register(worker.worker_id, self.generation)
        self.everybody.append(worker)
        self.workers = [one for one in self.workers if not one.out] + [worker]

    # Workers

    @rule(at=WORKERS, asks=st.lists(st.tuples(st.sampled_from(KEYS), AMOUNTS), max_size=3), lost=st.booleans())
    def batch(self, at: int, asks: list[tuple[str, int]], lost: bool) -> None:
        worker = self.workers[at]
        if not worker.alive:
            return
        if worker.generation != self.generation:
            self.join(worker)
        if worker.doubtful is not None:
            self.repeat(worker, worker.doubtful)
        charges = [self.asked(worker, key, bound) for key, bound in asks]
        ends, worker.pending = worker.pending, []
        batch = Batch(worker.worker_id, self.generation, worker.number + 1, ends, charges)
        answers = self.counters.apply_batch(batch)
        worker.number += 1
        self.count_tokens(ends)
        for asked, answer in zip(charges, answers, strict=True):
            assert type(answer) is self.foretell(asked), (asked, answer)
            if not isinstance(answer, Admitted):
                if not isinstance(answer, TOLD):
                    worker.policies[asked.key_id] = self.policies[asked.key_id]  # loaded again
                    worker.together = self.together
                continue
            self.note_admitted(worker, asked, answer, lost=lost)
        worker.doubtful = batch if lost else None

    def repeat(self, worker: Simulated, batch: Batch) -> None:
        """I9: it changes nothing. Whoever was admitted has been told otherwise, so what is held is taken back."""
        before = self.counters.status()
        answers = self.counters.apply_batch(replace(batch, charges=()))
        full = self.counters.apply_batch(batch)
        assert full[: len(answers)] == answers
        assert self.counters.status() == before
        for asked, answer in zip(batch.charges, answers, strict=False):
            if isinstance(answer, Admitted):
                back = TokenChange(answer.second, -asked.bound_tokens)
                worker.pending.append(End(0, asked.key_id, answer.day, asked.bound_nanos, 0, org_id=ORG, tokens=back))
        worker.doubtful, worker.unknown = None, []

    @rule(at=WORKERS, which=st.integers(0, 9), cost=st.integers(0, 80))
    def end(self, at: int, which: int, cost: int) -> None:
        worker = self.workers[at]
        if worker.open and worker.alive:
            seq = sorted(worker.open)[which % len(worker.open)]
            worker.end(seq, min(cost, worker.open[seq].nanos + 20))  # now and then it costs more than its bound

    @rule(at=WORKERS)
    def kill(self, at: int) -> None:
        """Its ledger writer finishes its journal: what was in flight is charged its bound."""
        worker = self.workers[at]
        worker.alive = False
        for seq in sorted(worker.open):
            worker.end(seq, worker.open[seq].nanos)

    @rule()
    def close_dead(self) -> None:
        for worker in [one for one in self.workers if not one.alive]:
            state = self.counters.worker_state(worker.worker_id)
            assert state is not None
            never_begun = [last.hold for last in state.last_admitted] if worker.doubtful is not None else []
            worker.imported = len(worker.journal)
            closing = WorkerReplay(
                worker.worker_id, self.generation, 0, worker.journal, never_begun, self.recent(worker)
            )
            assert self.counters.close_worker(closing)
            assert not self.counters.close_worker(closing)
            if worker.generation != self.generation:
                self.bring(worker)
            else:
                self.count_tokens(worker.pending)
            worker.out, worker.pending, worker.open, worker.generation = True, [], {}, self.generation
            self.hire()

    # Losses

    @rule(imported=st.integers(0, 3))
    def rebuild(self, imported: int) -> None:
        """The counters are lost. The ledger is cut wherever it has come to."""
        self.generation += 1
        self.live, self.seeded = False, set[str]()
        self.known: dict[str, int] = {}
        self.org_known, self.org_seeded = 0, False
        self.tracked = self.together.limits is not None
        self.used: dict[str, list[int]] = {key: [] for key in KEYS}
        self.tokens: dict[str, Counter[int]] = {key: Counter() for key in KEYS}
        for worker in self.everybody:
            worker.imported = min(len(worker.journal), worker.imported + imported)
            worker.cut = worker.imported
        inside = {worker.worker_id: worker.cut for worker in self.workers}
        self.counters.begin_generation(self.generation, inside, [ORG] if self.tracked else [])
        closed = [worker for worker in self.everybody if worker.out]
        self.counters.restore_requests(self.generation, [used for worker in closed for used in self.recent(worker)])
        for worker in closed:
            self.bring(worker)

    def join(self, worker: Simulated) -> None:
        replay = WorkerReplay(
            worker.worker_id, self.generation, len(worker.journal), worker.journal,
            list(worker.open.values()), self.recent(worker),
        )  # fmt: skip
        for _ in range(2):
            self.counters.join(replay)
        worker.generation, worker.number, worker.pending = self.generation, 0, []
        worker.doubtful, worker.unknown = None, []
        self.bring(worker)

    @rule(at=WORKERS)
    def join_early(self, at: int) -> None:
        if self.workers[at].alive and self.workers[at].generation != self.generation:
            self.join(self.workers[at])

    @precondition(lambda self: not self.live)
    @rule()
    def go_live(self) -> None:
        self.close_dead()
        self.join_early(0)
        self.join_early(1)
        assert self.counters.status().missing == ()
        self.counters.go_live(self.generation)
        self.live = True

    @rule(key=st.sampled_from(KEYS))
    def seed(self, key: str) -> None:
        """From what the ledger had at the cut, however far it has come since. A second one has no effect."""
        days = self.posted(key)
        self.counters.seed(self.generation, [Seed(key, days.total(), days)])
        self.seeded.add(key)

    @precondition(lambda self: self.tracked)
    @rule()
    def seed_together(self) -> None:
        days = self.posted(ORG)
        self.counters.seed(self.generation, [Seed(ORG, days.total(), days)])
        self.org_seeded = True

    # Edits, and time

    @rule(
        key=st.sampled_from(KEYS), limit=LIMITS, reset=st.sampled_from(RESETS), rpm=st.sampled_from([None, 1, 3]),
        told=st.booleans(), most=st.sampled_from([None, None, 1, 2]), tpm=st.sampled_from([None, None, 40, 120]),
    )  # fmt: skip
    def edit(
        self,
        key: str,
        limit: int | None,
        reset: str,
        rpm: int | None,
        told: bool,
        most: int | None = None,
        tpm: int | None = None,
    ) -> None:
        """I11: nothing that was used changes. If it is not told, the dashboard died after its commit."""
        version = self.policies[key].version + 1
        self.policies[key] = Policy(version, rpm, limit, reset, most, tpm)
        if told:
            self.counters.publish(self.generation, {key: version}, {})
            self.known[key] = version

    @rule(limit=LIMITS, reset=st.sampled_from(RESETS), rpm=st.sampled_from([None, 2, 5]), told=st.booleans())
    def edit_together(self, limit: int | None, reset: str, rpm: int | None, told: bool) -> None:
        """What both keys may use. Counters that were made while there was no limit go on until new ones are made."""
        limits = None if limit is None and rpm is None else together(rpm, limit, reset)
        self.together = Together(self.together.version + 1, limits)
        if told:
            self.counters.publish(self.generation, {}, {ORG: self.together.version})
            self.org_known = self.together.version

    @rule(seconds=st.sampled_from([0.3, 1.0, 30.0, 61.0, 3600.0, DAY, 8 * DAY, 40 * DAY]))
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_by(seconds)

    @rule(seconds=st.sampled_from([-2.0, -130.0, -3600.0, 3600.0, DAY]))
    def the_wall_clock_steps(self, seconds: float) -> None:
        self.clock.wall_now += seconds

    @rule()
    def just_over_midnight(self) -> None:
        self.clock.pass_by(DAY - self.clock.wall_now % DAY + 1)

    # Always

    @invariant()
    def the_counters_hold_what_the_journals_say(self) -> None:
        rows = self.counters.rows((*KEYS, ORG))
        assert self.tracked or ORG not in rows
        for key in (*KEYS, ORG) if self.tracked else KEYS:
            row, moment = rows.get(key), self.clock.moment
            for reset in RESETS:
                found = spend_of(row, moment, reset, 100)
                assert (found.period.spent_nanos, found.period.held_nanos) == self.in_period(key, reset), "I3, I10"
                assert min(found.period.spent_nanos, found.period.held_nanos) >= 0, "I1"
            if row is not None:
                weighing = sum(self.weighing(one) for one in KEYS if key in (one, ORG))
                assert (row.window.count(moment.second), row.in_flight) == (weighing, self.in_flight(key))
                tokens = 0 if row.tokens is None else row.tokens.count(moment.second)
                assert tokens == (0 if key == ORG else self.weighing_tokens(key))

    def teardown(self) -> None:
        """I13: when all is quiet nothing is held, and what the ledger says is what the counters say."""
        if not hasattr(self, "live"):
            return
        self.close_dead()
        if not self.live:
            self.go_live()
        for at, worker in enumerate(self.workers):
            for seq in sorted(worker.open):
                worker.end(seq, 1)
            for _ in range(2):
                self.batch(at, [], False)
        self.edit_together(None, "never", None, True)
        for worker in self.workers:
            worker.together = self.together
        for key in KEYS:
            self.seed(key)
            found = spend_of(self.counters.rows([key])[key], self.clock.moment, "never", None)
            assert found.period.held_nanos == 0
            assert found.lifetime_nanos == sum(
                end.cost_nanos for worker in self.everybody for end in worker.journal if end.key_id == key
            )
            self.edit(key, found.lifetime_nanos + 7, "never", None, True)
            self.workers[0].policies = dict(self.policies)
            self.batch(0, [(key, 7), (key, 1)], False)
            assert [hold.nanos for hold in self.workers[0].open.values() if hold.key_id == key] == [7]
        self.home.close()
        self.folder.cleanup()


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=300, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)

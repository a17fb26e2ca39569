"""The accounting as a state machine: requests, ends, time and edits, and what an oracle says of each."""

import shutil
import tempfile
from functools import cache
from pathlib import Path

from accounting_edits import AMOUNTS, KEYS, Edits, counting
from accounting_kit import Router, Worker, keep_sums_of_organizations
from accounting_oracle import MODEL, PROVIDER, Call, Oracle, Policy, today
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule
from ledger_kit import attempt
from never_begun import Unjournaled
from sqlalchemy import Connection, text

from proxyd.accounting.records import Attempt
from shared import db, models
from shared.counters import (
    Admitted,
    CountersUnavailable,
    Decision,
    Missing,
    ModelRefused,
    OrganizationRefused,
    RateLimited,
    SpendExceeded,
    SpendHeld,
    Stale,
    TokenRateLimited,
    TooManyConcurrent,
)
from shared.organization_limits import OrganizationLimits, is_capped
from shared.policy import limits_for

MODELS = ("gpt-4o", "gpt-4o-mini")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
REFUSED = (
    RateLimited | SpendHeld | SpendExceeded | TokenRateLimited | TooManyConcurrent | ModelRefused | OrganizationRefused
)


def fill(connection: Connection) -> None:
    """Two keys and their organisation, and the state of the accounting, in tables that are empty."""
    fill_keys(connection)
    connection.execute(text("insert into accounting_state (id, generation) values (1, 0)"))


def fill_keys(connection: Connection) -> None:
    """Two keys and their organisation, in tables that have none."""
    connection.execute(
        text("insert into organizations (id, name, created_at, policy_version) values ('org_1', 'A', '2026-01-01', 1)")
    )
    for key in KEYS:
        connection.execute(
            text(
                "insert into proxy_keys (id, org_id, name, prefix, allowed_providers, allowed_models, allowed_ips,"
                " spend_reset, created_at, created_by, version)"
                " values (:key, 'org_1', 'a', 'p', '[]', '[]', '[]', 'daily', '2026-01-01', 't', 1)"
            ),
            {"key": key},
        )


@cache
def template() -> Path:
    """A database with two keys, made once and copied for each run."""
    path = Path(tempfile.mkdtemp(prefix="router-model-", dir=MEMORY)) / "router.db"
    engine = db.create(f"sqlite:///{path}")
    models.metadata().create_all(engine)
    with engine.begin() as connection:
        keep_sums_of_organizations(connection)
        fill(connection)
    engine.dispose()
    return path


class Calm(Edits):
    """One to three workers and the ledger writer, stepped by rules; nothing breaks."""

    @initialize(workers=st.integers(1, 3), limit=st.none() | AMOUNTS)
    def begin(self, workers: int, limit: int | None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="router-model-", dir=MEMORY))
        for path in template().parent.glob("router.db*"):
            shutil.copy(path, self.directory)
        self.engine = db.create(f"sqlite:///{self.directory / 'router.db'}")
        self.router = Router(self.directory, self.engine)
        self.router.clock.mono_step = 0.7
        self.oracle = Oracle()
        self.newest = {key: Policy(key, limit_nanos=limit) for key in KEYS}
        self.cached: dict[tuple[str, str], Policy] = {}
        self.seen: dict[str, tuple[str, int]] = {}
        self.copy: Path | None = None
        self.unjournaled = Unjournaled()
        self.looks: list[tuple[str, int]] = []  # key and steady second of those at rest, which are no calls
        self.workers: list[Worker] = []
        for _ in range(workers):
            self.start_worker()
        self.ledger_writer_goes_on()

    def start_worker(self) -> None:
        self.workers.append(Worker(self.router))

    # Requests

    @rule(which=st.integers(0, 2), key=st.sampled_from(KEYS), bound=AMOUNTS, model=st.sampled_from(MODELS))
    def admit(self, which: int, key: str, bound: int, model: str) -> None:
        if self.workers:
            self.try_to_admit(self.workers[which % len(self.workers)], key, bound, model)

    def try_to_admit(self, worker: Worker, key: str, bound: int, model: str = MODEL) -> Decision | None:
        policy = self.cached.setdefault((worker.id, key), self.newest[key])
        seq, name = worker.accounting.new_id()

        def attempt_of(admitted: Admitted) -> Attempt:
            return attempt(
                id=name, key_id=key, bound_nanos=bound, held_nanos=bound, day=admitted.day, second=admitted.second,
                held_tokens=policy.tokens(bound), requested_model=model,
            )  # fmt: skip

        absent: int = 0
        for _ in range(5):
            asked = policy.charge(bound, model)._replace(seq=seq, loaded_in=absent)
            try:
                answer = worker.accounting.admit(seq, asked, attempt_of)
            except CountersUnavailable:
                # Nobody could tell that it was overtaken, so that the database is asked.
                if not is_capped(asked) and not asked.model_limits and policy == self.newest[key]:
                    self.begin_unheld(worker, key, seq, name, bound, model)
                return None
            if not isinstance(answer, Stale | Missing):
                break
            absent = answer.generation if isinstance(answer, Missing) else 0
            policy = self.cached[worker.id, key] = self.newest[key]
        self.judge(worker, policy, seq, name, bound, answer, model)
        return answer

    def judge(
        self, worker: Worker, policy: Policy, seq: int, name: str, bound: int, answer: Decision, model: str
    ) -> None:
        """I2, I9 and I12, at each admission and whatever was lost before."""
        if not isinstance(answer, Admitted):
            assert isinstance(answer, REFUSED), answer
            return
        assert policy == self.newest[policy.key_id], "an edit that was answered is not obeyed"
        call = Call(name, seq, policy.key_id, worker.id, answer.day, answer.second, bound, held=True)
        call.bound_tokens, call.model = policy.tokens(bound), model
        self.oracle.calls[name] = call
        if policy.limit_nanos is not None:
            total = self.oracle.liability(policy.key_id, policy.reset, answer.day)
            assert total <= policy.limit_nanos, f"{total} of {policy.limit_nanos}"
        if policy.rpm is not None:
            assert self.oracle.requests(policy.key_id, answer.second, self.unknown_workers()) <= policy.rpm
        if policy.most is not None:
            assert self.oracle.in_flight(policy.key_id, self.unknown_workers()) <= policy.most
        if call.bound_tokens and policy.tpm is not None:
            used = self.oracle.tokens(policy.key_id, answer.second, self.unknown_workers(), told=False)
            assert used <= policy.tpm, f"{used} tokens of {policy.tpm}"
        for limit in limits_for(policy.models, PROVIDER, model):
            total = self.oracle.liability(policy.key_id, limit.spend_reset, answer.day, counting(limit))
            assert total <= limit.spend_limit_nanos, f"{total} of {limit.spend_limit_nanos}, {limit.model}"
        if policy.together is not None:
            self.judge_together(policy.together, answer)

    def judge_together(self, limits: OrganizationLimits, answer: Admitted) -> None:
        """The same of all keys together."""
        rpm, limit, reset = limits
        if limit is not None:
            total = sum(self.oracle.liability(key, reset, answer.day) for key in KEYS)
            assert total <= limit, f"{total} of {limit}, all keys together"
        if rpm is not None:
            unknown = self.unknown_workers()
            assert sum(self.oracle.requests(key, answer.second, unknown) for key in KEYS) <= rpm

    def unknown_workers(self) -> set[str]:
        """Those whose requests, in flight and of the last minute, nobody can know of now."""
        return set()

    def begin_unheld(self, worker: Worker, key: str, seq: int, name: str, bound: int, model: str) -> None:
        day = today(self.router.clock.wall_at)
        worker.accounting.begin_unheld(
            seq,
            attempt(id=name, key_id=key, bound_nanos=bound, held_nanos=0, day=day, second=-1, requested_model=model),
        )
        self.oracle.calls[name] = Call(name, seq, key, worker.id, day, -1, bound, held=False, model=model)

    def an_open_call(self, number: int) -> tuple[Worker, Call] | None:
        found = [(worker, call) for worker in self.workers for call in self.oracle.open_of(worker.id)]
        return found[number % len(found)] if found else None

    @rule(number=st.integers(0, 50), share=st.integers(0, 10), again=st.booleans())
    def settle(self, number: int, share: int, again: bool) -> None:
        if (found := self.an_open_call(number)) is not None:
            worker, call = found
            cost = call.bound_nanos * share // 10
            worker.settle(call.seq, cost)
            self.oracle.settle(call, cost)
            if again:
                worker.settle(call.seq, 999)
                worker.accounting.void(call.seq)

    @rule(number=st.integers(0, 50), share=st.integers(0, 10))
    def settle_while_limits_are_read(self, number: int, share: int) -> None:
        """The next join of its worker waits for the database, and meanwhile it ends."""
        if (found := self.an_open_call(number)) is not None:
            worker, call = found

            def settle() -> None:
                if call.state == "open" and worker in self.workers:
                    worker.settle(call.seq, call.bound_nanos * share // 10)
                    self.oracle.settle(call, call.bound_nanos * share // 10)

            worker.meanwhile.append(settle)

    @rule(number=st.integers(0, 50))
    def void(self, number: int) -> None:
        if (found := self.an_open_call(number)) is not None:
            worker, call = found
            worker.accounting.void(call.seq)
            call.state = "void"

    @rule(number=st.integers(0, 50), share=st.integers(0, 10))
    def progress(self, number: int, share: int) -> None:
        if (found := self.an_open_call(number)) is not None:
            worker, call = found
            call.progress_nanos = call.bound_nanos * share // 10
            worker.accounting.note_progress(call.seq, call.progress_nanos)

    # What goes on by itself

    @rule(which=st.integers(0, 2))
    def worker_goes_on(self, which: int) -> None:
        if self.workers:
            worker = self.workers[which % len(self.workers)]
            try:
                worker.keep()
                worker.accounting.flush()
            except CountersUnavailable:
                pass

    @rule()
    def ledger_writer_goes_on(self) -> None:
        self.router.rounds()

    @rule(seconds=st.sampled_from([-2.0, 0.5, 1.0, 20.0, 61.0, 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        """Wall time may step back; the steady clock does not."""
        self.router.clock.wall_at += seconds
        self.router.clock.steady_at += max(0.0, seconds)

    @rule()
    def just_before_midnight(self) -> None:
        clock = self.router.clock
        seconds = 86_400 - clock.wall_at % 86_400 - 0.001
        clock.wall_at += seconds
        clock.steady_at += seconds

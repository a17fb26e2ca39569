"""The accounting as a state machine: requests, ends, time and edits, and what an oracle says of each."""

import shutil
import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

from accounting_kit import Router, Worker, keep_sums_of_organizations
from accounting_oracle import Call, NeverBegun, Oracle, Policy, today
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from ledger_kit import attempt
from sqlalchemy import Connection, text

from proxyd.accounting.records import Attempt
from shared import db
from shared.counters import (
    Admitted,
    CountersLost,
    CountersUnavailable,
    Decision,
    Missing,
    OrganizationRefused,
    RateLimited,
    SpendExceeded,
    SpendHeld,
    Stale,
    TokenRateLimited,
    TooManyConcurrent,
)
from shared.organization_limits import OrganizationLimits, is_capped

KEYS = ("key_1", "key_2")
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
AMOUNTS = st.integers(0, 1_200)
RESETS = ("daily", "monthly", "never")
REFUSED = RateLimited | SpendHeld | SpendExceeded | TokenRateLimited | TooManyConcurrent | OrganizationRefused


def fill(connection: Connection) -> None:
    """Two keys and their organisation, in tables that are empty."""
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
    connection.execute(text("insert into accounting_state (id, generation) values (1, 0)"))


@cache
def template() -> Path:
    """A database with two keys, made once and copied for each run."""
    path = Path(tempfile.mkdtemp(prefix="router-model-", dir=MEMORY)) / "router.db"
    engine = db.create(f"sqlite:///{path}")
    db.Base.metadata.create_all(engine)
    with engine.begin() as connection:
        keep_sums_of_organizations(connection)
        fill(connection)
    engine.dispose()
    return path


class Calm(RuleBasedStateMachine):
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
        self.never_begun: list[NeverBegun] = []
        self.workers: list[Worker] = []
        for _ in range(workers):
            self.start_worker()
        self.ledger_writer_goes_on()

    def start_worker(self) -> None:
        self.workers.append(Worker(self.router))

    # Requests

    @rule(which=st.integers(0, 2), key=st.sampled_from(KEYS), bound=AMOUNTS)
    def admit(self, which: int, key: str, bound: int) -> None:
        if self.workers:
            self.try_to_admit(self.workers[which % len(self.workers)], key, bound)

    def try_to_admit(self, worker: Worker, key: str, bound: int) -> Decision | None:
        policy = self.cached.setdefault((worker.id, key), self.newest[key])
        seq, name = worker.accounting.new_id()

        def attempt_of(admitted: Admitted) -> Attempt:
            return attempt(
                id=name, key_id=key, bound_nanos=bound, held_nanos=bound, day=admitted.day, second=admitted.second,
                held_tokens=policy.tokens(bound),
            )  # fmt: skip

        absent: int = 0
        for _ in range(5):
            asked = policy.charge(bound)._replace(seq=seq, loaded_in=absent)
            try:
                answer = worker.accounting.admit(seq, asked, attempt_of)
            except CountersUnavailable:
                if not is_capped(asked):
                    self.begin_unheld(worker, key, seq, name, bound)
                return None
            if not isinstance(answer, Stale | Missing):
                break
            absent = answer.generation if isinstance(answer, Missing) else 0
            policy = self.cached[worker.id, key] = self.newest[key]
        self.judge(worker, policy, seq, name, bound, answer)
        return answer

    def judge(self, worker: Worker, policy: Policy, seq: int, name: str, bound: int, answer: Decision) -> None:
        """I2, I9 and I12, at each admission and whatever was lost before."""
        if not isinstance(answer, Admitted):
            assert isinstance(answer, REFUSED), answer
            return
        assert policy == self.newest[policy.key_id], "an edit that was answered is not obeyed"
        call = Call(name, seq, policy.key_id, worker.id, answer.day, answer.second, bound, held=True)
        call.bound_tokens = policy.tokens(bound)
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

    def begin_unheld(self, worker: Worker, key: str, seq: int, name: str, bound: int) -> None:
        day = today(self.router.clock.wall_at)
        worker.accounting.begin_unheld(
            seq, attempt(id=name, key_id=key, bound_nanos=bound, held_nanos=0, day=day, second=-1)
        )
        self.oracle.calls[name] = Call(name, seq, key, worker.id, day, -1, bound, held=False)

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

    # Edits

    @rule(
        key=st.sampled_from(KEYS), limit=st.none() | AMOUNTS, rpm=st.none() | st.integers(0, 4),
        reset=st.sampled_from(RESETS), told=st.booleans(), dies=st.booleans(), most=st.sampled_from([None, None, 1, 2]),
        tpm=st.sampled_from([None, None, 600, 2_000]),
    )  # fmt: skip
    def edit(
        self, key: str, limit: int | None, rpm: int | None, reset: str, told: bool, dies: bool, most: int | None,
        tpm: int | None,
    ) -> None:  # fmt: skip
        """As the dashboard does it: commit, tell the counters, answer. One that could not tell is not answered."""
        version = self.newest[key].version + 1
        with self.engine.begin() as connection:
            connection.execute(
                text("update proxy_keys set version = :v, max_concurrent_requests = :m where id = :k"),
                {"v": version, "m": most, "k": key},
            )
            connection.execute(text("insert into policy_outbox (subject) values (:k)"), {"k": key})
        before = self.newest[key]
        self.newest[key] = replace(before, version=version, limit_nanos=limit, rpm=rpm, reset=reset, most=most, tpm=tpm)
        self.publish(key, {key: version}, {}, told=told, dies=dies)

    @rule(
        limit=st.none() | AMOUNTS, rpm=st.none() | st.integers(1, 5), reset=st.sampled_from(RESETS),
        told=st.booleans(), dies=st.booleans(),
    )  # fmt: skip
    def edit_together(self, limit: int | None, rpm: int | None, reset: str, told: bool, dies: bool) -> None:
        """What all keys may use. A first limit wants new counters that keep a row of it, in the edit's transaction."""
        before = self.newest[KEYS[0]]
        version = before.org_version + 1
        limits = None if limit is None and rpm is None else OrganizationLimits(rpm, limit, reset)
        with self.engine.begin() as connection:
            connection.execute(
                text(
                    "update organizations set policy_version = :v, spend_limit_nanos = :l, rate_limit_rpm = :r,"
                    " spend_reset = :s where id = 'org_1'"
                ),
                {"v": version, "l": limit, "r": rpm, "s": reset},
            )
            connection.execute(text("insert into policy_outbox (subject) values ('org_1')"))
            if before.together is None and limits is not None:
                connection.execute(
                    text(
                        "update accounting_state set outdated = generation where not exists (select 1 from"
                        " organization_seeds where organization_seeds.generation = accounting_state.generation)"
                    )
                )
        for key in KEYS:
            self.newest[key] = replace(self.newest[key], org_version=version, together=limits)
        self.publish("org_1", {}, {"org_1": version}, told=told, dies=dies)

    def publish(self, subject: str, keys: dict[str, int], orgs: dict[str, int], *, told: bool, dies: bool) -> None:
        try:
            self.router.renew_observer()
            if dies:
                raise CountersLost("the dashboard died")
            self.router.observer.publish(self.router.database.generation(), keys, orgs)
        except CountersUnavailable:
            # Nobody was answered, so old snapshots may pass until the ledger writer has told.
            for worker in self.workers:
                for key in keys or KEYS:
                    self.cached[worker.id, key] = self.newest[key]
        else:
            if told:
                with self.engine.begin() as connection:
                    connection.execute(text("delete from policy_outbox where subject = :k"), {"k": subject})

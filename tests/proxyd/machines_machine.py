"""Two machines as a state machine: the accounting's own rules and faults, and those of a machine among others.

The rules of the protocol that its faults are after:

- Counters are adopted, not made anew, if those of the database's generation stand there and another machine is there.
- A generation is raised by whoever finds the one in the database that was found bad; its maker may die before the
  counters are made, and while others wait.
- Whoever was open at the cut has to join, on whatever machine it is, and also if it is closed meanwhile.
- The money that a machine which is away had posted stands for its workers, once, and until each has joined or is taken
  out; what they end meanwhile is imported and counted once, when they do. Its requests in flight do not count meanwhile,
  and where a key limits those, counters that still count them are given up after some minutes.
- The journals of one that is away may be imported from a copy. What was open in it is charged as after a crash, nobody
  waits for its workers any more and none of them may admit; new counters begin with the ledger's sums. If it comes back,
  what its journals tell beyond the copy is booked, once: as adjustments, where an estimate stands.

A machine posts before it goes away: what it admits between its last post and that moment is what may be lost to the
limit (docs/guarantees.md), and nothing else.
"""

import shutil
import tempfile
from pathlib import Path

from accounting_edits import KEYS
from accounting_faults import AccountingMachine
from accounting_kit import Worker
from accounting_machine import MEMORY, fill
from accounting_oracle import Oracle, Policy
from dying_kit import die_between_calls
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule
from machines_kit import Machine, Machines, copy_of, import_copy
from never_begun import Unjournaled
from redis_kit import RedisServer
from sqlalchemy import Engine

from proxyd.accounting.journal import lock_path
from proxyd.accounting.journal_copies import worker_ids
from shared import models
from shared.counters import Admitted, CountersUnavailable, Decision

WHICH = st.integers(0, 1)
_EMPTY = "; ".join(f"delete from {table.name}" for table in reversed(models.metadata().sorted_tables))


def empty(engine: Engine) -> None:
    """As it was at first. On tables as small as these DELETE takes a twentieth of the time of TRUNCATE."""
    with engine.begin() as connection:
        connection.exec_driver_sql(_EMPTY)
        fill(connection)


class TwoMachines(AccountingMachine):
    """Up to two workers on each."""

    server: RedisServer  # set by the test, as is the next
    engine: Engine  # of one PostgreSQL database with all tables, for all runs

    @initialize(workers=st.integers(1, 3), limit=st.none() | st.integers(0, 1_200))
    def begin(self, workers: int, limit: int | None) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="router-model-", dir=MEMORY))
        empty(self.engine)
        self.machines = Machines(self.directory, self.engine, self.server)
        self.router = self.machines.a
        self.machines.clock.mono_step = 0.7
        self.oracle = Oracle()
        self.newest = {key: Policy(key, limit_nanos=limit) for key in KEYS}
        self.cached = {}
        self.seen = {}
        self.unjournaled, self.looks = Unjournaled(), []
        self.dump: dict[bytes, bytes] = {}
        self.workers = []
        self.machine_of: dict[str, Machine] = {}
        self.given_up: set[str] = set()  # workers of which a copy was imported
        self.copies = 0
        self.rested = False
        for number in range(workers):
            self.start_on(self.machines.both[number % 2])
        self.machines.rounds()

    def start_worker(self) -> None:
        few = min(self.machines.both, key=lambda machine: len(machine.workers))
        self.start_on(few)

    def start_on(self, machine: Machine) -> None:
        worker = machine.worker()
        self.machine_of[worker.id] = machine
        self.workers.append(worker)

    def kill(self, worker: Worker) -> None:
        super().kill(worker)
        self.machine_of[worker.id].workers.remove(worker)

    def unknown_workers(self) -> set[str]:
        """Of a machine that has not adopted them, or whose worker has not joined, or was given up and is not closed."""
        try:
            missing = self.router.observer.status()
            states = {worker: self.router.observer.worker_state(worker) for worker in self.machine_of}
        except CountersUnavailable:
            return set(self.machine_of)
        behind = [
            machine for machine in self.machines.both if machine.writer.shared_state.generation != missing.generation
        ]
        given_up = {worker for worker in self.given_up if self.is_open(worker)}
        return given_up | {
            worker
            for worker, machine in self.machine_of.items()
            if machine in behind or ((state := states[worker]) is not None and not state.joined)
        }

    def is_open(self, worker_id: str) -> bool:
        """Whether the journal of a worker has still to be closed by its own machine."""
        return lock_path(self.machine_of[worker_id].directory / "journals", worker_id).exists()

    # What goes on by itself

    def ledger_writer_goes_on(self) -> None:  # stepped by machine
        self.machines.rounds()

    @rule(which=WHICH)
    def a_ledger_writer_goes_on(self, which: int) -> None:
        self.machines.both[which].rounds()

    @rule(seconds=st.sampled_from([0.5, 1.0, 16.0, 61.0, 301.0, 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        """Who is not away posts all the time."""
        self.machines.rounds()
        self.machines.clock.wall_at += seconds
        self.machines.clock.steady_at += seconds
        self.machines.rounds()

    # Faults

    @rule(which=WHICH)
    def a_machine_goes_away(self, which: int) -> None:
        machine = self.machines.both[which]
        machine.rounds()
        machine.go_away()

    @rule(which=WHICH)
    def a_machine_comes_back(self, which: int) -> None:
        self.machines.both[which].come_back()

    @rule(which=WHICH, rounds=st.integers(0, 6))
    def counters_are_lost_while_a_machine_is_away(self, which: int, rounds: int) -> None:
        """So long that the other one, if it gets so far, has fenced it."""
        self.a_machine_goes_away(which)
        self.server.empty()
        self.time_passes(16.0)
        for _ in range(rounds):
            self.machines.rounds()
            self.worker_goes_on(which=0)
            self.worker_goes_on(which=1)

    @rule(which=WHICH)
    def a_machine_is_given_up(self, which: int) -> None:
        """Its journals are copied and imported by the other one; its workers may live."""
        self.a_machine_goes_away(which)
        self.time_passes(16.0)
        machine, other = self.machines.both[which], self.machines.both[1 - which]
        self.copies += 1
        copy = copy_of(machine, self.directory / f"copy{self.copies}")
        if not worker_ids(copy / "journals"):
            return
        for call in self.oracle.calls.values():
            if call.state == "open" and self.machine_of[call.worker_id] is machine and call.imported_nanos is None:
                call.imported_nanos = call.estimate_nanos
        for worker in self.workers:
            worker.given_up = worker.given_up or self.machine_of[worker.id] is machine
        self.given_up |= {worker for worker, home in self.machine_of.items() if home is machine}
        found = import_copy(other, copy)
        assert not found.unusable
        assert not found.absent
        again = import_copy(other, copy)
        assert (again.ended, again.crashed, again.adjustments) == (0, 0, 0)

    def judge(
        self, worker: Worker, policy: Policy, seq: int, name: str, bound: int, answer: Decision, model: str
    ) -> None:
        super().judge(worker, policy, seq, name, bound, answer, model)
        if worker.given_up and isinstance(answer, Admitted):
            generation, outdated, _ = self.router.database.generations()
            assert outdated >= generation, "one that was given up is admitted to counters made since"
            self.oracle.calls[name].held = False  # the counters that knew of it are about to be replaced

    @rule(which=WHICH)
    def a_machine_reaches_the_database_only(self, which: int) -> None:
        machine = self.machines.both[which]
        if machine.away:
            machine.away = False
            machine.rounds()
            machine.away = True

    @rule(which=WHICH)
    def a_generation_is_raised_and_its_maker_dies(self, which: int) -> None:
        machine = self.machines.both[which]
        known = machine.writer.shared_state.generation
        machine.database.raise_generation(known, known)

    def copy_counters(self) -> None:
        pass  # as follows

    def put_older_copy_back(self) -> None:
        pass

    def lose_shared_state(self) -> None:
        pass

    @rule()
    def dump_counters(self) -> None:
        with self.server.client() as client:
            found = {key: client.dump(key) for key in client.scan_iter()}
        self.dump = {key: value for key, value in found.items() if value is not None}

    @precondition(lambda self: self.dump)
    @rule()
    def restore_counters(self) -> None:
        """As a server that is started again with an older file."""
        self.server.empty()
        self.server.tell("SCRIPT", "FLUSH")
        with self.server.client() as client:
            for key, value in self.dump.items():
                client.restore(key, 0, value)

    @rule(which=WHICH)
    def a_shared_state_is_lost(self, which: int) -> None:
        (self.machines.both[which].directory / "accounting.page").unlink(missing_ok=True)

    def ledger_writer_is_killed(self) -> None:
        pass  # as follows

    @rule(which=WHICH, after=st.integers(0, 40))
    def a_ledger_writer_is_killed(self, which: int, after: int) -> None:
        machine = self.machines.both[which]
        if machine.away:
            return
        die_between_calls(machine.new_writer(), machine.clock, after)
        machine.writer = machine.new_writer()
        machine.writer.start()

    def everything_is_killed(self) -> None:
        pass  # as follows

    @rule(which=WHICH, workers=st.integers(0, 2), long=st.booleans())
    def a_machine_is_killed(self, which: int, workers: int, long: bool) -> None:
        """And started again, perhaps so late that the other one did not wait for it."""
        machine = self.machines.both[which]
        for worker in [worker for worker in self.workers if self.machine_of[worker.id] is machine]:
            self.workers.remove(worker)
            self.kill(worker)
        if long:
            machine.away = True
            self.time_passes(16.0)
        machine.come_back()
        machine.restart()
        for _ in range(workers):
            self.start_on(machine)

    # At rest

    def teardown(self) -> None:
        if not hasattr(self, "machines"):
            return
        try:
            self.everything_comes_to_rest()
        finally:
            self.machines.close()
            shutil.rmtree(self.directory)

    def drive(self) -> None:
        for machine in self.machines.both:
            machine.come_back()
        for worker in [worker for worker in self.workers if worker.given_up]:
            self.workers.remove(worker)
            self.kill(worker)
        if not self.workers:
            self.start_worker()
        self.come_to_rest()
        for key in KEYS:
            answer = self.look(key)
            assert isinstance(answer, Admitted), answer
        self.come_to_rest()

    def come_to_rest(self) -> None:
        """The first time, nobody knows of what is still waited for; then there is only what was asked since."""
        self.machines.rest(1 if self.rested else 3)
        self.rested = True

"""The accounting as a state machine under every fault, with what holds always and what must be so at rest (I1 to I14)."""

import shutil
import sqlite3

from accounting_edits import AMOUNTS, KEYS
from accounting_kit import Worker, charge
from accounting_machine import Calm
from accounting_oracle import MODEL, PROVIDER, WINDOW_SECONDS, today
from dying_kit import Killed, die_between_calls
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import text

from shared.counters import (
    Admitted,
    Batch,
    CountersUnavailable,
    Decision,
    SpendExceeded,
)
from shared.organization_limits import OrganizationLimits
from shared.policy import limits_for


class Faulty(Calm):
    """The same with everything that can break."""

    # Faults

    @rule(which=st.integers(0, 2))
    def kill_worker(self, which: int) -> None:
        if self.workers:
            self.kill(self.workers.pop(which % len(self.workers)))

    def kill(self, worker: Worker) -> None:
        for call in self.oracle.open_of(worker.id):
            call.crash()
        self.unjournaled.killed(worker)
        worker.kill()

    @rule(which=st.integers(0, 2), key=st.sampled_from(KEYS), bound=AMOUNTS)
    def kill_worker_between_counters_and_journal(self, which: int, key: str, bound: int) -> None:
        if not self.workers:
            return
        worker = self.workers[which % len(self.workers)]
        real = worker.counters.apply_batch

        def die(batch: Batch) -> list[Decision]:
            answers = real(batch)
            admitted = self.unjournaled.applied(worker, batch, answers)
            self.unjournaled.died += admitted
            if admitted:
                raise Killed
            return answers

        worker.counters.apply_batch = die  # type: ignore[method-assign]
        try:
            self.try_to_admit(worker, key, bound)
        except Killed:
            pass
        self.workers.remove(worker)
        self.kill(worker)

    @rule(which=st.integers(0, 2), key=st.sampled_from(KEYS), bound=AMOUNTS, applied=st.booleans())
    def answer_is_lost(self, which: int, key: str, bound: int, applied: bool) -> None:
        if not self.workers:
            return
        worker = self.workers[which % len(self.workers)]
        real = worker.counters.apply_batch

        def lose(batch: Batch) -> list[Decision]:
            worker.counters.apply_batch = real  # type: ignore[method-assign]
            if applied:
                self.unjournaled.lost(worker, batch, real(batch))
            raise CountersUnavailable("cut", in_doubt=True)

        worker.counters.apply_batch = lose  # type: ignore[method-assign]
        try:
            self.try_to_admit(worker, key, bound)
        finally:
            worker.counters.apply_batch = real  # type: ignore[method-assign]

    @precondition(lambda self: len(self.workers) < 3)
    @rule()
    def another_worker(self) -> None:
        self.start_worker()

    @rule()
    def lose_counters(self) -> None:
        self.router.lose_counters()

    @rule()
    def copy_counters(self) -> None:
        path = self.directory / "copy.db"
        if (self.directory / "counters.db").exists():
            path.unlink(missing_ok=True)
            source, target = sqlite3.connect(self.directory / "counters.db"), sqlite3.connect(path)
            source.backup(target)
            source.close()
            target.close()
            self.copy = path

    @precondition(lambda self: self.copy is not None)
    @rule()
    def put_older_copy_back(self) -> None:
        assert self.copy is not None
        self.router.lose_counters()
        shutil.copy(self.copy, self.directory / "counters.db")

    @rule()
    def lose_shared_state(self) -> None:
        (self.directory / "accounting.page").unlink(missing_ok=True)

    @rule(after=st.integers(0, 40))
    def ledger_writer_is_killed(self, after: int) -> None:
        """Between any two calls of a round, or before it; another one takes over."""
        router = self.router
        die_between_calls(router.new_writer(), router.clock, after)
        router.writer = router.new_writer()
        router.writer.start()

    @rule(workers=st.integers(1, 3))
    def everything_is_killed(self, workers: int) -> None:
        while self.workers:
            self.kill(self.workers.pop())
        self.router.writer = self.router.new_writer()
        self.router.writer.start()
        for _ in range(workers):
            self.start_worker()


class AccountingMachine(Faulty):
    """The same with what holds always, and what must be so at rest."""

    # What holds always

    @invariant()
    def nothing_is_negative(self) -> None:
        """I1."""
        if not hasattr(self, "router"):
            return  # nothing has begun
        self.router.renew_observer()
        try:
            rows = self.router.observer.rows(KEYS)
        except CountersUnavailable:
            return
        for row in rows.values():
            assert row.lifetime >= 0
            assert all(spent >= 0 and held >= 0 for spent, held in row.days.values())

    @invariant()
    def a_ledger_row_is_right_and_stays(self) -> None:
        """I4, I6, I14: each row is one call's only end, and is never changed."""
        if not hasattr(self, "router"):
            return
        rows = self.rows_of_ledger()
        assert self.seen.items() <= rows.items()
        assert rows.items() <= self.oracle.rows().items()
        self.seen = rows

    def rows_of_ledger(self) -> dict[str, tuple[str, int]]:
        return {name: rows[0] for name, rows in self.all_rows().items()}

    def all_rows(self) -> dict[str, list[tuple[str, int]]]:
        """By attempt: its row, and what adjusts it, in order."""
        found: dict[str, list[tuple[str, int]]] = {}
        with self.engine.connect() as connection:
            rows = connection.execute(
                text("select coalesce(adjusts, id), outcome, cost_nanos from usage_records order by length(id), id")
            )
            for name, outcome, cost in rows:
                found.setdefault(name, []).append((outcome, cost))
        return found

    # At rest

    def teardown(self) -> None:
        if hasattr(self, "router"):
            try:
                self.everything_comes_to_rest()
            finally:
                for worker in self.workers:
                    worker.kill()
                self.engine.dispose()
                shutil.rmtree(self.directory)

    def everything_comes_to_rest(self) -> None:
        if not self.workers:
            self.start_worker()
        self.drive()
        self.agree()
        for call in self.oracle.calls.values():
            if call.state == "open":
                worker = next(worker for worker in self.workers if worker.id == call.worker_id)
                worker.settle(call.seq, call.bound_nanos // 2)
                self.oracle.settle(call, call.bound_nanos // 2)
        self.drive()
        self.agree()
        for key in KEYS:
            self.exactly_what_fits_is_admitted(key)

    def drive(self) -> None:
        """Without faults, until nothing is left to do. Each key is asked for, so that it is seeded."""
        self.router.rest(*self.workers)
        for key in KEYS:
            answer = self.look(key)
            assert isinstance(answer, Admitted), answer
        self.router.rest(*self.workers)

    def look(self, key: str, bound: int = 0, limit: int = 2**50) -> Decision:
        worker = self.workers[0]
        of_models = limits_for(self.newest[key].models, PROVIDER, MODEL)
        seq, answer = worker.admit(
            charge(
                key_id=key, version=self.newest[key].version, bound_nanos=bound, spend_limit_nanos=limit,
                org_version=self.newest[key].org_version, organization=self.large_limits(),
                model_limits=tuple(limit._replace(spend_limit_nanos=2**50) for limit in of_models),
            )
        )  # fmt: skip
        worker.accounting.void(seq)
        worker.accounting.flush()
        if isinstance(answer, Admitted):
            self.looks.append((key, answer.second))
        return answer

    def large_limits(self) -> OrganizationLimits | None:
        """Of all keys, by which nothing is refused; None if they have none."""
        return None if self.newest[KEYS[0]].together is None else OrganizationLimits(None, 2**50, "daily")

    def agree_together(self) -> None:
        """The row of all keys, if one has to be kept, is the sum of theirs."""
        if self.newest[KEYS[0]].together is None:
            return
        rows = self.router.observer.rows((*KEYS, "org_1"))
        org, oldest = rows.pop("org_1"), today(self.router.clock.wall_at) - 37
        assert org.lifetime == sum(row.lifetime for row in rows.values())
        assert org.in_flight == sum(row.in_flight for row in rows.values())
        for at in (0, 1):
            days = {day for row in (org, *rows.values()) for day in row.days if day > oldest}
            for day in days:
                assert org.days.get(day, [0, 0])[at] == sum(row.days.get(day, [0, 0])[at] for row in rows.values())

    def agree(self) -> None:
        """I3, I5, I8, I10, I11: ledger, sums, counters, oracle and the provider's invoice are one."""
        rows = self.rows_of_ledger()
        assert rows == self.oracle.rows()
        words = {name: (rows[-1][0], sum(cost for _, cost in rows)) for name, rows in self.all_rows().items()}
        assert words == self.oracle.last_words()
        assert {name: cost for name, (outcome, cost) in words.items() if outcome == "ok"} == self.oracle.invoice
        self.router.renew_observer()
        counted = self.router.observer.rows(KEYS)
        with self.engine.connect() as connection:
            daily: dict[str, int] = dict(
                connection.execute(text("select key_id, sum(cost_nanos) from usage_daily group by key_id")).all()
            )
            totals: dict[str, int] = dict(
                connection.execute(text("select key_id, total_nanos from key_spend where day = '1970-01-01'")).all()
            )
        self.agree_together()
        for key in KEYS:
            self.agree_of_models(key)
            spent = self.oracle.spent_by_day(key)
            days = counted[key].days
            oldest = today(self.router.clock.wall_at) - 37
            assert {day: nanos for day, (nanos, _) in days.items() if nanos and day > oldest} == {
                day: nanos for day, nanos in spent.items() if day > oldest
            }
            assert {day: held for day, (_, held) in days.items() if held} == self.oracle.held_by_day(key)
            assert counted[key].in_flight == self.oracle.in_flight(key)
            second, window = self.router.observer.moment().second, counted[key].tokens
            used = self.oracle.tokens(key, second)
            never_begun = self.unjournaled.weighing(key, second, self.router.observer.status().generation)
            assert (0 if window is None else window.count(second)) == used + sum(one.tokens for one in never_begun)
            requests = self.oracle.requests(key, second)
            requests += sum(of == key and at >= second - WINDOW_SECONDS for of, at in self.looks)
            assert counted[key].window.count(second) == requests + len(never_begun)
            assert counted[key].lifetime == daily.get(key, 0) == totals.get(key, 0) == sum(spent.values())

    def exactly_what_fits_is_admitted(self, key: str) -> None:
        """I13, and that nothing is refused for what nobody holds any more."""
        day = today(self.router.clock.wall_at)
        used = sum(call.cost_nanos for call in self.oracle.calls.values() if call.key_id == key and call.day == day)
        assert isinstance(self.look(key, 1, used), SpendExceeded)
        assert isinstance(self.look(key, 10, used + 10), Admitted)

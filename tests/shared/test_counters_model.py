"""Counters against a model of a few lines, over random stories: days, edits, ends that come twice, deaths, restarts."""

import tempfile
from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from shared.counters import Admitted, Charge, SpendExceeded, SpendHeld, connect
from shared.counters.budget import DONE_SECONDS, LEASE_SECONDS
from shared.periods import day_of, period_of, unix

KEYS = st.sampled_from(["a", "b"])
RESETS = st.sampled_from(["never", "daily", "weekly", "monthly"])
WORKERS = st.sampled_from(["w1", "w2"])
AMOUNTS = st.integers(0, 60)


class Story(RuleBasedStateMachine):
    reservations = Bundle("reservations")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.now = float(unix(day_of(1_800_000_000))) + 86_390.0  # ten seconds before midnight
        self.counters = connect(f"sqlite:///{self.folder.name}/counters.db", clock=lambda: self.now)
        self.limits = {"a": 100, "b": None}
        self.resets = {"a": "daily", "b": "never"}
        self.spent = {}  # (key, day) -> nanos
        self.holds = {}  # reservation -> (worker, key, day, nanos)
        self.ended = {}  # reservation -> when
        self.leases = {}
        self.count = 0

    @initialize()
    def seed(self):
        assert self.counters.seed(self.counters.generation(), [])

    def in_period(self, key):
        start, end = period_of(self.resets[key], self.now)
        spent = sum(n for (k, d), n in self.spent.items() if k == key and start <= d and (end is None or d < end))
        held = sum(n for _, k, d, n in self.holds.values() if k == key and start <= d and (end is None or d < end))
        return spent, held

    def drop_the_dead(self):
        for worker in [w for w, ends in self.leases.items() if ends <= self.now]:
            del self.leases[worker]
            self.holds = {r: hold for r, hold in self.holds.items() if hold[0] != worker}

    @rule(target=reservations, key=KEYS, worker=WORKERS, bound=AMOUNTS)
    def admit(self, key, worker, bound):
        self.count += 1
        reservation = f"r{self.count}"
        spent, held = self.in_period(key)
        limit = self.limits[key]
        if limit is not None and held and spent + held + bound > limit:
            self.drop_the_dead()
            spent, held = self.in_period(key)
        answer = self.counters.admit(Charge(reservation, worker, "org", key, 0, None, limit, self.resets[key], bound))
        if limit is not None and spent + bound > limit:
            assert isinstance(answer, SpendExceeded)
        elif limit is not None and spent + held + bound > limit:
            assert isinstance(answer, SpendHeld)
            assert 1 <= answer.retry_after_seconds <= 5
        else:
            assert isinstance(answer, Admitted)
            assert answer.day == day_of(self.now)
            if bound:
                self.holds[reservation] = (worker, key, answer.day, bound)
                if self.leases.get(worker, 0) <= self.now:
                    self.leases[worker] = self.now + LEASE_SECONDS
            return multiple((reservation, key, answer.day))
        return multiple()

    @rule(reservation=reservations, cost=AMOUNTS)
    def settle(self, reservation, cost):
        name, key, day = reservation
        assert self.counters.settle(name, key, day, cost) == (name not in self.ended)
        if name not in self.ended:
            self.ended.setdefault(name, self.now)
            self.spent[key, day] = self.spent.get((key, day), 0) + cost
            self.holds.pop(name, None)

    @rule(reservation=reservations)
    def release(self, reservation):
        name, _, _ = reservation
        assert self.counters.release(name) == (name not in self.ended)
        self.ended.setdefault(name, self.now)
        self.holds.pop(name, None)

    @rule(reservation=consumes(reservations), cost=AMOUNTS)
    def overrun_and_again(self, reservation, cost):
        self.settle(reservation, cost + 100)
        self.settle(reservation, cost)
        self.release(reservation)

    @rule(reservation=reservations, worker=WORKERS, bound=AMOUNTS)
    def hold_again(self, reservation, worker, bound):
        name, key, day = reservation
        self.counters.hold_again(name, worker, key, day, bound)
        if bound and name not in self.ended and name not in self.holds:
            self.holds[name] = (worker, key, day, bound)
            if self.leases.get(worker, 0) <= self.now:
                self.leases[worker] = self.now + LEASE_SECONDS

    @rule(key=KEYS, limit=st.none() | st.integers(0, 300))
    def edit_limit(self, key, limit):
        self.limits[key] = limit

    @rule(key=KEYS, reset=RESETS)
    def edit_reset(self, key, reset):
        self.resets[key] = reset

    @rule(seconds=st.sampled_from([1.0, 9.0, 250.0, 3600.0, 86_400.0, 40 * 86_400.0]))
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    def over_midnight_and_two_seconds_back(self):
        midnight = unix(day_of(self.now) + timedelta(days=1))
        self.now = midnight + 0.5
        self.balances_agree()
        self.now -= 2

    @rule(worker=WORKERS)
    def renew(self, worker):
        self.counters.renew(worker)
        self.leases[worker] = self.now + LEASE_SECONDS

    @rule()
    def lapse(self):
        before = len(self.holds)
        self.drop_the_dead()
        assert self.counters.lapse() == before - len(self.holds)
        self.ended = {name: at for name, at in self.ended.items() if at >= self.now - DONE_SECONDS}

    @rule()
    def reopen(self):
        self.counters.close()
        self.counters = connect(f"sqlite:///{self.folder.name}/counters.db", clock=lambda: self.now)

    @invariant()
    def balances_agree(self):
        for key in ("a", "b"):
            spent, held = self.in_period(key)
            found = self.counters.lifetime(key, self.resets[key], self.limits[key])
            assert (found.period.spent_nanos, found.period.held_nanos) == (spent, held)
            assert found.lifetime_nanos == sum(n for (k, _), n in self.spent.items() if k == key)
            if self.limits[key] is not None:
                assert found.period.remaining_nanos == max(0, self.limits[key] - spent - held)

    def teardown(self):
        self.counters.close()
        self.folder.cleanup()


TestStory = Story.TestCase
TestStory.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)

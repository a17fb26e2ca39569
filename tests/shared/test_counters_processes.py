"""Several real processes on one counters file, each started anew, as the proxy's workers are."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from datetime import date

import pytest

from shared.counters import connect

NOON = 1_800_014_400.0
TODAY = date(2027, 1, 15)
BOUND = 270

PREAMBLE = """
import json, sys
from datetime import date
from shared.counters import Admitted, Charge, RateLimited, SpendExceeded, SpendHeld, connect

url, name, now = sys.argv[1], sys.argv[2], float(sys.argv[3])
counters = connect(url, clock=lambda: now)
today = date(2027, 1, 15)

def charge(at, rpm=None, limit=None, bound=0):
    return Charge(f"{name}-{at:06}", name, "org", "key", 0, rpm, limit, "daily", bound)

counters.epoch("org")
print("ready", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def url(tmp_path):
    return f"sqlite:///{tmp_path}/counters.db"


@pytest.fixture
def counters(url):
    counters = connect(url, clock=lambda: NOON)
    counters.seed(counters.generation(), [])
    yield counters
    counters.close()


@pytest.fixture
def start(url):
    started = []

    def start(name, program):
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + program, url, name, str(NOON)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def run(start, program, count=3):
    """Start all, let them go at once, and collect what each prints as JSON."""
    processes = [start(f"w{number}", program) for number in range(count)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = []
    for process in processes:
        answers.append(json.loads(process.communicate(timeout=60)[0]))
        assert process.returncode == 0
    return answers


def test_it_works(start, counters):
    answers = run(start, "print(json.dumps(counters.bump_epoch('org')))")
    assert len(set(answers)) == 3
    assert counters.epoch("org") == max(answers)


def test_600_requests_against_60_a_minute_admit_60(start, counters):
    answers = run(
        start,
        """
kinds = [type(counters.admit(charge(at, rpm=60))) for at in range(200)]
assert set(kinds) <= {Admitted, RateLimited}
print(json.dumps(kinds.count(Admitted)))
""",
    )
    assert sum(answers) == 60
    assert counters.rate("key", 60).remaining == 0


def test_m01_200_requests_against_a_limit_for_37_hold_37(start, counters):
    answers = run(
        start,
        f"""
admitted, most = 0, 0
for at in range(100):
    answer = counters.admit(charge(at, limit=37 * {BOUND} + 11, bound={BOUND}))
    admitted += isinstance(answer, Admitted)
    most = max(most, answer.spend.held_nanos + answer.spend.spent_nanos)
print(json.dumps([admitted, most]))
""",
        count=2,
    )
    assert sum(admitted for admitted, _ in answers) == 37
    assert max(most for _, most in answers) == 37 * BOUND
    assert counters.spend("key", "daily").held_nanos == 37 * BOUND


def test_spent_and_held_never_pass_the_limit_while_requests_come_and_go(start, counters):
    answers = run(
        start,
        f"""
import random
dice = random.Random(name)
limit = 5 * {BOUND}
spent, open_ones = 0, []
for at in range(400):
    answer = counters.admit(charge(at, limit=limit, bound={BOUND}))
    state = answer.spend
    assert state.spent_nanos + state.held_nanos <= limit, state
    if isinstance(answer, Admitted):
        open_ones.append(charge(at).reservation_id)
    while open_ones and dice.random() < 0.6:
        reservation = open_ones.pop()
        if dice.random() < 0.5:
            assert counters.release(reservation)
        else:
            cost = dice.randrange(3)
            assert counters.settle(reservation, "key", today, cost)
            spent += cost
for reservation in open_ones:
    counters.release(reservation)
print(json.dumps(spent))
""",
    )
    state = counters.spend("key", "daily")
    assert (state.spent_nanos, state.held_nanos) == (sum(answers), 0)
    assert state.spent_nanos > 0


def test_the_same_reservation_in_all_processes_is_charged_and_posted_once(start, counters):
    answers = run(
        start,
        """
posted = 0
for at in range(150):
    one = Charge(f"same-{at}", "w", "org", "key", 0, None, None, "daily", 5)
    try:
        counters.admit(one)
    except ValueError:  # another process has ended it
        pass
    posted += counters.settle(one.reservation_id, "key", today, 3)
print(json.dumps(posted))
""",
    )
    assert sum(answers) == 150
    state = counters.spend("key", "daily")
    assert (state.spent_nanos, state.held_nanos) == (450, 0)


def test_processes_that_start_together_make_one_file(start, tmp_path):
    answers = run(
        start,
        "print(json.dumps([counters.generation(), counters.seed(counters.generation(), [('key', today, 7)])]))",
        count=4,
    )
    assert len({generation for generation, _ in answers}) == 1
    assert [seeded for _, seeded in answers].count(True) == 1
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.is_file()) == [".db", ".lock"]


def test_a_process_killed_at_any_moment_blocks_none_and_loses_nothing_it_was_told(start, counters, tmp_path):
    told = 0
    for round_number in range(4):
        process = start(
            f"k{round_number}",
            """
for at in range(10**6):
    assert isinstance(counters.admit(charge(at, rpm=10**9, limit=10**12, bound=10)), Admitted)
    assert counters.settle(charge(at).reservation_id, "key", today, 4)
    print(at, flush=True)
""",
        )
        process.stdin.write("go\n")
        process.stdin.flush()
        for _ in range(50 + 37 * round_number):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read()
        told += 50 + 37 * round_number + rest.count("\n")
        counters.bump_epoch("another org")  # nobody is blocked
    state = counters.spend("key", "daily")
    assert 4 * told <= state.spent_nanos <= 4 * (told + 4)
    assert state.held_nanos in {0, 10, 20, 30, 40}
    with sqlite3.connect(tmp_path / "counters.db") as plain:
        assert plain.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        (spent,) = plain.execute("SELECT SUM(spent) FROM spend").fetchone()
        (ends,) = plain.execute("SELECT COUNT(*) FROM done").fetchone()
        (held,) = plain.execute("SELECT COALESCE(SUM(nanos), 0) FROM hold").fetchone()
    plain.close()
    assert spent == 4 * ends, "every end has posted its cost, and every cost has its end"
    assert held == state.held_nanos


def test_killed_inside_a_transaction(start, counters):
    process = start(
        "killed",
        """
with counters._database.transaction():
    counters.settle("half", "key", today, 1000)
    counters.bump_epoch("org")
    print("inside", flush=True)
    sys.stdin.readline()
""",
    )
    process.stdin.write("go\n")
    process.stdin.flush()
    assert process.stdout.readline() == "inside\n"
    process.kill()
    process.wait()
    assert counters.bump_epoch("org") > 0
    assert counters.settle("half", "key", TODAY, 3)
    assert counters.spend("key", "daily").spent_nanos == 3

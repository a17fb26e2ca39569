"""Several real processes on one counters file, each started anew, as the proxy's workers are."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from counters_kit import TODAY, Home, Worker, charge

from shared.counters import Admitted, Counters, Seed, state_of

BOUND = 270

# `worker.send`, `charge` and `say` are what the programs below speak with.
PREAMBLE = """
import json, random, sys
from collections import Counter
from pathlib import Path
from counters_kit import BOOT, FakeClock, Worker, charge
from shared.counters import Admitted, SharedState, RateLimited, SpendExceeded, SpendHeld, connect

url, data_dir, name = sys.argv[1:]
clock, dice = FakeClock(), random.Random(name)
counters = connect(url, clock=clock)
counters.attach(SharedState.open(Path(data_dir), BOOT))
worker = Worker(counters, name).register()

def say(value):
    print(json.dumps(value), flush=True)

print("ready", flush=True)
sys.stdin.readline()
"""
Start = Callable[[str, str], subprocess.Popen[str]]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    home = Home(tmp_path, f"sqlite:///{tmp_path}/counters.db")
    yield home
    home.close()


@pytest.fixture
def counters(home: Home) -> Counters:
    return home.live(1, "key", "other")


@pytest.fixture
def start(home: Home, counters: Counters) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []
    path = os.pathsep.join([str(Path(__file__).parent), *(entry for entry in sys.path if entry)])

    def start(name: str, program: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", PREAMBLE + program, home.url, home.data_dir, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        started.append(process)
        assert line(process) == "ready\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def go(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def run(start: Start, program: str, count: int = 3) -> list[dict[str, int]]:
    """Start all, let them go at once, and collect what each says last."""
    processes = [start(f"w{number}", program) for number in range(count)]
    for process in processes:
        go(process)
    answers: list[dict[str, int]] = []
    for process in processes:
        answers.append(json.loads(process.communicate(timeout=60)[0].splitlines()[-1]))
        assert process.returncode == 0
    return answers


def total(answers: list[dict[str, int]], what: str) -> int:
    return sum(answer.get(what, 0) for answer in answers)


def money(counters: Counters, key: str = "key") -> tuple[int, int]:
    row = counters.rows([key])[key]
    _, spend, _ = state_of(row, counters.moment(), rpm=None, spend_reset="daily", limit_nanos=None)
    return spend.spent_nanos, spend.held_nanos


COUNT = "say(Counter(type(answer).__name__ for answer in answers))"


def test_it_works(start: Start, counters: Counters) -> None:
    answers = run(start, f"answers = worker.send(*[charge(bound=1)] * 5)\n{COUNT}")
    assert total(answers, "Admitted") == 15
    assert money(counters) == (0, 15)


@pytest.mark.parametrize("size", [1, 7])
def test_r01_ten_times_the_limit_admits_exactly_the_limit(start: Start, counters: Counters, size: int) -> None:
    program = f"answers = [one for _ in range({200 // size}) for one in worker.send(*[charge(rpm=60)] * {size})]\n"
    answers = run(start, program + COUNT)
    assert total(answers, "Admitted") == 60
    assert total(answers, "RateLimited") == 3 * (200 // size) * size - 60
    assert counters.rows(["key"])["key"].window.buckets == {5_000: 60}


@pytest.mark.parametrize("size", [1, 4])
def test_m01_holds_never_sum_to_more_than_the_limit(start: Start, counters: Counters, size: int) -> None:
    limit = 37 * BOUND + 11
    program = f"one = charge(limit={limit}, reset='daily', bound={BOUND})\n"
    program += f"answers = [answer for _ in range(40) for answer in worker.send(*[one] * {size})]\n"
    answers = run(start, program + COUNT)
    assert total(answers, "Admitted") == 37
    assert total(answers, "SpendHeld") == 3 * 40 * size - 37
    assert money(counters) == (0, 37 * BOUND)


def test_spent_and_held_never_pass_the_limit_and_sums_are_exact(start: Start, counters: Counters) -> None:
    limit = 9 * BOUND
    answers = run(
        start,
        f"""
seen, open_ones = Counter(), []
for _ in range(300):
    charges = [charge(dice.choice(["key", "other"]), limit={limit}, reset="daily", bound=dice.randrange({BOUND}))
               for _ in range(dice.randrange(4))]
    ends = []
    while open_ones and dice.random() < 0.55:  # fewer ends than charges: soon it is holds that fill the limit
        key, day, held = open_ones.pop(dice.randrange(len(open_ones)))
        ends.append(worker.end(key, day=day, held=held, cost=dice.randrange(1 + held // 40)))
        seen[key] += ends[-1].cost_nanos
    for one, answer in zip(charges, worker.send(*charges, ends=ends), strict=True):
        assert answer.spend.spent_nanos + answer.spend.held_nanos <= {limit}, answer
        seen[type(answer).__name__] += 1
        if isinstance(answer, Admitted):
            open_ones.append((one.key_id, answer.day, one.bound_nanos))
worker.send(ends=[worker.end(key, day=day, held=held) for key, day, held in open_ones])
say(seen)
""",
    )
    for key in ("key", "other"):
        assert money(counters, key) == (total(answers, key), 0)
        assert 0 < total(answers, key) <= limit
    assert total(answers, "Admitted") > 100
    assert total(answers, "SpendHeld") > 0


def test_a_key_is_seeded_once_and_versions_only_rise(start: Start, counters: Counters) -> None:
    program = f"""
from shared.counters import Seed
for at in range(100):
    counters.seed(1, [Seed(f"new {{at % 10}}", 7, {{{TODAY}: 3}})])
    counters.publish(1, {{"key": dice.randrange(50), "other": at}}, {{"org": at}})
say({{}})
"""
    run(start, program)
    rows = counters.rows([f"new {at}" for at in range(10)])
    assert {(row.lifetime, row.days[TODAY][0]) for row in rows.values()} == {(7, 3)}
    assert len(rows) == 10
    assert counters.rows(["other"])["other"].version == 99
    assert counters.org_version("org") == 99


def test_a_process_killed_at_any_moment_blocks_none_and_loses_nothing_it_was_told(
    start: Start, counters: Counters
) -> None:
    program = """
while True:
    (answer,) = worker.send(charge(rpm=10**9, limit=10**12, bound=10))
    worker.send(ends=[worker.end(day=answer.day, held=10, cost=4)])
    print(worker.number, flush=True)
"""
    survivor = Worker(counters, "survivor").register()
    spent = 0
    for round_number in range(4):
        process = start(f"k{round_number}", program)
        go(process)
        for _ in range(50 + 37 * round_number):
            told = int(line(process))
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        told = ([told] + [int(text) for text in process.stdout.read().split()])[-1]
        assert isinstance(survivor.ask(charge()), Admitted), "nobody is blocked"
        state = counters.worker_state(f"k{round_number}")
        assert state is not None
        assert told // 2 <= state.end_number <= told // 2 + 1
        spent += 4 * state.end_number
        assert money(counters) == (spent, sum(last.hold.nanos for last in state.last_admitted))
        for last in state.last_admitted:
            survivor.send(ends=[survivor.end(day=last.hold.day, held=last.hold.nanos)])
    assert money(counters) == (spent, 0)


def test_killed_inside_a_transaction(home: Home, start: Start, counters: Counters) -> None:
    process = start(
        "killed",
        """
from shared.counters import Seed
def seeds():
    yield Seed("key", 1000, {})
    print("inside", flush=True)
    sys.stdin.readline()
counters.seed(1, seeds())
""",
    )
    go(process)
    assert line(process) == "inside\n"
    assert home.shared_state.transaction_pid == process.pid, "the ledger writer knows whom to end"
    process.kill()
    process.wait()
    counters.seed(1, [Seed("another", 5, {})])
    assert counters.rows(["key"])["key"].lifetime == 0
    assert counters.rows(["another"])["another"].lifetime == 5
    assert home.shared_state.transaction_pid == 0


def test_new_counters_under_load_are_found_by_all_and_asked_for_once(home: Home, start: Start) -> None:
    program = """
from shared.counters import CountersLost
while True:
    try:
        worker.send(charge("other", bound=1))
    except CountersLost as error:
        if error.found == 2:
            break
state_generation = SharedState.open(Path(data_dir), BOOT).generation
worker = Worker(counters, name, 2).register()
(answer,) = worker.send(charge("key", bound=1, loaded_in=2))
say({"generation": state_generation, type(answer).__name__: 1})
"""
    processes = [start(f"w{number}", program) for number in range(3)]
    for process in processes:
        go(process)
    writer = home.connect()
    before = writer.status().sequence
    while writer.status().sequence < before + 200:
        pass
    writer.begin_generation(2, {})
    writer.go_live(2)
    for process in processes:
        answer = json.loads(process.communicate(timeout=60)[0].splitlines()[-1])
        assert answer == {"generation": 2, "Admitted": 1}
    assert money(writer) == (0, 3)
    assert writer.check()

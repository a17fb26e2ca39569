"""What the router costs when there are many keys and a long ledger. `make bench-scale`; docs/benchmarks.md explains it.

BENCH_KEYS and BENCH_ROWS say how many (1,000,000 and 5,000,000 are what the goals are for), BENCH_DATABASE and
BENCH_LIMITS where they stand. The tests share one router and follow one another as written.
"""

import os
import threading
import time

import pytest
import requests
from harness import eventually
from pacing import Clients, Group
from process_kit import peak_mb
from rig import LIMITED, Rig
from scale import fill, is_capped, key_id_of, secret_of
from table import SCALE_GOALS, Table
from upstreams import CHAT

from shared.counters import WINDOW_SECONDS

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

KEYS = int(os.environ.get("BENCH_KEYS", "50000"))
ROWS = int(os.environ.get("BENCH_ROWS", "250000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "3"))
SEED = "bench"
USED_KEYS = min(KEYS, 100_000)
MANY_KEYS = min(KEYS // 2, 10_000)
RATE = 100  # requests a second of each of two groups
EDITS = 20  # a second
FIRST = 1_000  # keys of the paced groups are taken from the first ones


@pytest.fixture(scope="module")
def table(folder, stores):
    table = Table(SCALE_GOALS)
    yield table
    print("", f"{KEYS:,} keys, {ROWS:,} rows on {stores.said}; logs: {folder}", *table.lines(), sep="\n")


@pytest.fixture(scope="module")
def rig(nginx, folder, stores):
    """One worker before a full database. The dashboard runs, the proxy does not yet."""
    rig = Rig(folder, "scale", ROUTER_OPENAI_URL=nginx.url, start=False, **stores.settings("scale"))
    rig.sent_before = nginx.requests_seen()
    try:
        fill(rig.engine, seed=SEED, key_count=KEYS, row_count=ROWS)
        rig.router.start("dashboard")
        yield rig
    finally:
        rig.stop()


def chat(rig, key: str) -> int:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    try:
        return requests.post(f"{rig.router.proxy_url}{CHAT}", LIMITED, headers=headers, timeout=60).status_code
    except requests.RequestException:
        return 0


def test_cold_start(rig, table):
    """From the start of the process to ready, and to the first answer for a key with a limit."""
    started = time.monotonic()
    rig.router.start("proxy")

    def ready() -> bool:
        return requests.get(f"{rig.router.proxy_url}/readyz", timeout=60).status_code == 200

    eventually(ready, 300, "readiness")
    table.add("cold start to ready, s", time.monotonic() - started)
    eventually(lambda: chat(rig, secret_of(SEED, 0)) == 200, 300, "an answer for a key with a limit")
    table.add("cold start to the first answer of a capped key, s", time.monotonic() - started)
    table.add("cold start, largest process at its peak, MB", max(peak_mb(pid) for pid in rig.processes()))


def test_many_keys_in_turn(rig, nginx, table):
    load = {"connections": 32, "seconds": SECONDS}
    # All of one kind, with every limit: else the one key would be cheaper, or dearer, than the others.
    many = [secret_of(SEED, number) for number in range(2 * MANY_KEYS) if is_capped(number)]
    # Their first use, with its load and its seed, is not what is measured: and a short load does not come to all of them.
    assert rig.use_each(many, most_seconds=300) == MANY_KEYS
    for _ in range(3):
        one = rig.many_keys(nginx, many[:1], **load)
        turn = rig.many_keys(nginx, many, **load)
        for kind in ("worker", "ledger writer"):
            table.add(f"one key, CPU of the {kind}, us a request", one[kind])
            table.add(f"{MANY_KEYS:,} keys in turn, CPU of the {kind}, us a request", turn[kind])
        table.add("keys in turn / one key, CPU", sum(turn.values()) / sum(one.values()))


def test_memory_with_many_keys_used(rig, nginx, table):
    """Every key is used once; a slow router gets five minutes for it."""
    keys = [secret_of(SEED, number) for number in range(USED_KEYS)]
    table.add("keys used", rig.use_each(keys, most_seconds=300))
    table.add("resident, worker with these keys used, MB", rig.memory()[0])


def test_counters_lost(rig, stores, nginx, table):
    """The counters vanish under 200 requests a second, half of them of keys with a limit."""
    capped = Group("capped", [secret_of(SEED, n) for n in range(FIRST) if is_capped(n)])
    free = Group("uncapped", [secret_of(SEED, n) for n in range(FIRST) if not is_capped(n)])
    # What a worker brings into new counters are the requests of its last minute: those of this load, not of the tests
    # before, which used a hundred thousand keys as fast as they could.
    time.sleep(WINDOW_SECONDS + 2)
    with Clients(rig.router.proxy_url, LIMITED, [capped, free], RATE).running():
        time.sleep(3)
        stores.lose_counters("scale", rig.router.data_dir)
        time.sleep(15)
    for group in (free, capped):
        table.add(f"counters lost: longest pause of {group.name} keys, s", group.pause())
        table.add(f"counters lost: slowest answer to {group.name} keys, s", group.percentile_ms(0.9999) / 1000)
        table.add(f"counters lost: {group.name} requests refused", len(group.failed()))
    table.add("counters lost: largest process at its peak, MB", max(peak_mb(pid) for pid in rig.processes()))
    rig.wait_for_rows(nginx)
    for number in range(0, FIRST, 10):
        rig.check_spend(key_id_of(number))


def test_edits_of_one_key(rig, table):
    """20 edits a second of a key that nobody uses are nothing to the others."""
    key_id, _ = rig.router.create_key(name="edited", spend_limit_usd="5")
    group = Group("others", [secret_of(SEED, number) for number in range(FIRST)])
    clients = Clients(rig.router.proxy_url, LIMITED, [group], 2 * RATE)
    with clients.running():
        time.sleep(5)
    quiet = group.percentile_ms(0.99)
    group.clear()
    over = threading.Event()
    edits = 0

    def edit() -> None:
        nonlocal edits
        started = time.monotonic()
        while not over.wait(max(0.0, started + edits / EDITS - time.monotonic())):
            rig.router.edit(key_id, name=f"edited {edits}")
            edits += 1

    editor = threading.Thread(target=edit)
    with clients.running():
        editor.start()
        time.sleep(10)
        over.set()
        editor.join()
    table.add("edits: a second", edits / 10)
    table.add("edits: requests of others refused", len(group.failed()))
    table.add("edits: p99 of others, with / without", group.percentile_ms(0.99) / quiet)


def test_the_books_agree(rig):
    """The whole ledger, recomputed: while it is short enough for that."""
    if ROWS > 1_000_000:
        pytest.skip("run `flask --app wsgi ledger verify` by hand on a ledger of this length")
    rig.verify()

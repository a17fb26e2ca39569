"""How long pages and lists of the dashboard take where there are many keys. `make bench-scale`; docs/benchmarks.md.

BENCH_KEYS and BENCH_ROWS say how many, BENCH_DATABASE where they stand. A page that is new needs a line in PAGES, a list
of the JSON API one in CALLS.
"""

import os
import random
import re
import statistics
import time

import pytest
import requests
from process_kit import memory_mb, tree
from rig import Rig
from scale import fill, key_id_of, secret_of
from scale_variety import RARE
from stores import DATABASE
from table import Goal, Table

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]

KEYS = int(os.environ.get("BENCH_KEYS", "50000"))
ROWS = int(os.environ.get("BENCH_ROWS", "250000"))
REFUSALS = int(os.environ.get("BENCH_REFUSALS", str(2 * KEYS)))
AUDIT = int(os.environ.get("BENCH_AUDIT", str(KEYS)))
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "40"))
WALKED = int(os.environ.get("BENCH_WALKED", "100000"))  # keys of the list that are walked by API
SEED = "bench"

SORTS = (
    "-created_at",
    "created_at",
    "name",
    "-name",
    "spend",
    "-spend",
    "last_used",
    "-last_used",
    "expires_at",
    "-expires_at",
)
FILTERS = {
    "active": "status=active", "revoked": "status=revoked", "paused or expired": "status=paused,expired",
    "all but revoked": "status=active,paused,expired", "provider": "provider=gemini",
    "created by one of many": "created_by=member7@example.com", "created by one of few": "created_by=rare@example.com",
    "without limit": "has_limit=false", "with limit": "has_limit=true", "dormant": "dormant=true",
    "near limit": "near_limit=true", "expiring": "expiring=true", "refused": "refused=true",
    "attention": "attention=true", "attention, with limit": "attention=true&has_limit=true",
    "tag of many": "tag=prod", "tag of few": "tag=team+7",
    "active, with limit, dormant, provider": "status=active&has_limit=true&dormant=true&provider=anthropic",
}  # fmt: skip
# What a search looks for: {n} is the number of any key.
SEARCHES = {
    "a name": "{team} backend {n}", "part of most names": "backend", "two letters": "bi", "a model": "claude-",
    "a model of few": "o3-deep", "a tag": "prod", "tags of few": "team 7", "a prefix": "{prefix}", "nothing": "no such key {n}", "a whole key": "{secret}",
}  # fmt: skip
# Addresses of the JSON API by what they are called. {key} is the id of any key.
CALLS = {
    **{f"keys by {sort}": f"/v1/keys?sort={sort}" for sort in SORTS},
    **{f"keys, {name}": f"/v1/keys?{query}" for name, query in FILTERS.items()},
    **{f"keys, {name}, by name": f"/v1/keys?{query}&sort=name" for name, query in FILTERS.items()},
    **{f"keys, {name}, by spend": f"/v1/keys?{query}&sort=-spend" for name, query in FILTERS.items()},
    "one key": "/v1/keys/{key}",
    "requests of a key": "/v1/keys/{key}/requests",
    "refusals of a key": "/v1/keys/{key}/refusals",
    "usage of a key": "/v1/keys/{key}/usage",
    "usage by model": "/v1/usage?group_by=model",
    "usage by key": "/v1/usage?group_by=key",
    "usage by day": "/v1/usage?group_by=day",
    "usage by tag": "/v1/usage?group_by=tag",
    "usage by label": "/v1/usage?group_by=label",
    "usage of a key by tag": "/v1/keys/{key}/usage?group_by=tag",
    "usage of a key by label": "/v1/keys/{key}/usage?group_by=label",
    "forecast of a tag": "/v1/forecast?tag=prod",
    "audit log": "/v1/audit",
    "audit log of a key": "/v1/audit?target={key}",
}
# Pages of the dashboard.
PAGES = {
    "page: keys": "/keys",
    "page: keys, search": "/keys?q=backend+{n}",
    "page: keys, active, by name": "/keys?status=active&sort=name",
    "page: keys, refused lately": "/keys?refused=true",
    "page: keys, needing attention": "/keys?attention=true",
    "page: keys, paused, by name": "/keys?status=paused&sort=name",
    "page: a key": "/keys/{key}",
    "page: overview": "/overview",
    "page: usage": "/usage",
    "page: usage, 7 days by key": "/usage?period=7d&group_by=key",
    "page: usage, 30 days by key": "/usage?period=30d&group_by=key",
    "page: usage by model": "/usage?group_by=model",
    "page: usage by tag": "/usage?group_by=tag",
    "page: usage by label": "/usage?period=7d&group_by=label",
    "page: keys with a tag": "/keys?tag=prod",
    "page: requests": "/requests",
    "page: requests of a label": "/requests?label=run+7",
    "page: requests, search": "/requests?q=backend",
    "page: requests of a model": "/requests?model=gpt-4o-mini",
    "page: requests, 4xx": "/requests?status=4xx",
    "page: refused": "/requests/refused",
    "page: refused, rate limits": "/requests/refused?reason=rate_limited",
    "page: audit log": "/audit",
    "page: audit log of a member": "/audit?actor=member7@example.com",
    "page: providers": "/providers",
    "page: members": "/settings/members",
    "page: settings": "/settings",
}
SEARCH_MUST_MS, MUST_MS = (200 if DATABASE == "sqlite" else 100), 100


@pytest.fixture(scope="module")
def table(folder, stores):
    goals = {f"{name}, p95, ms": Goal(MUST_MS, MUST_MS) for name in (*CALLS, *PAGES)}
    goals |= {f"search: {name}, p95, ms": Goal(SEARCH_MUST_MS, SEARCH_MUST_MS) for name in SEARCHES}
    goals["whole list by API, keys/s"] = Goal(5_000, 5_000, floor=True)
    goals["largest process of the dashboard, MB"] = Goal(200, 200)
    table = Table(goals)
    yield table
    print("", f"{KEYS:,} keys, {ROWS:,} rows, {REFUSALS:,} refusals on {stores.said}; logs: {folder}", sep="\n")
    print(*table.lines(), f"missed: {table.missed() or 'nothing'}", sep="\n")


@pytest.fixture(scope="module")
def rig(folder, stores):
    """A dashboard before a full database; there is no proxy."""
    rig = Rig(folder, "dashboard_scale", start=False, **stores.settings("dashboard_scale"))
    try:
        fill(rig.engine, seed=SEED, key_count=KEYS, row_count=ROWS, varied=True, refusals=REFUSALS, audit=AUDIT)
        rig.router.start("dashboard")
        yield rig
    finally:
        rig.stop()


@pytest.fixture(scope="module")
def automation(rig):
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {rig.router.token}"
        yield session


@pytest.fixture(scope="module")
def browser(rig):
    with requests.Session() as session:
        page = session.get(f"{rig.router.web_url}/login", timeout=60).text
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page)
        assert token is not None
        form = {"csrf_token": token[1], "email": rig.router.admin[0], "password": rig.router.admin[1]}
        assert session.post(f"{rig.router.web_url}/login", data=form, timeout=60).status_code == 200
        yield session


def p95_ms(rig, session, template: str, chosen: random.Random) -> float:
    """Of requests for an address, each of another key; the first two, which find nothing in any cache, do not count."""
    times = []
    for _ in range(SAMPLES + 2):
        number = chosen.randrange(KEYS)
        secret = secret_of(SEED, number)
        address = template.format(
            n=number, key=key_id_of(number), team="billing", secret=secret, prefix=secret[: len("sk-proxy-") + 4]
        )
        started = time.perf_counter()
        answer = session.get(rig.router.web_url + address, timeout=60)
        times.append((time.perf_counter() - started) * 1000)
        assert answer.status_code == 200, (address, answer.text[:500])
    return statistics.quantiles(times[2:], n=20)[-1]


@pytest.mark.parametrize("name", CALLS)
def test_call(rig, automation, table, name):
    table.add(f"{name}, p95, ms", p95_ms(rig, automation, CALLS[name], random.Random(name)))


@pytest.mark.parametrize("name", SEARCHES)
def test_search(rig, automation, table, name):
    address = f"/v1/keys?q={SEARCHES[name]}"
    table.add(f"search: {name}, p95, ms", p95_ms(rig, automation, address, random.Random(name)))


@pytest.mark.parametrize("name", PAGES)
def test_page(rig, browser, table, name):
    table.add(f"{name}, p95, ms", p95_ms(rig, browser, PAGES[name], random.Random(name)))


def test_few_are_all_found(rig, automation):
    """Where they stand far apart as well: a page is not short for it."""
    expected = {key_id_of(number) for number in range(17, KEYS, RARE)}
    for query in ("created_by=rare@example.com", "q=o3-deep"):
        for sort in SORTS:
            answer = automation.get(f"{rig.router.web_url}/v1/keys?{query}&sort={sort}&limit=200", timeout=60).json()
            assert {key["id"] for key in answer["data"]} == expected, (query, sort)


def test_the_whole_list_by_api(rig, automation, table):
    seen, cursor, started = 0, "", time.perf_counter()
    while seen < WALKED:
        page = automation.get(f"{rig.router.web_url}/v1/keys?limit=200{cursor}", timeout=60).json()
        seen += len(page["data"])
        if not page["has_more"]:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen >= min(WALKED, KEYS)
    table.add("whole list by API, keys/s", seen / (time.perf_counter() - started))


def test_memory(rig, table):
    """After all of the above."""
    pids = tree(rig.router.processes["dashboard"].pid)
    table.add("largest process of the dashboard, MB", max(memory_mb(pid)[0] for pid in pids))

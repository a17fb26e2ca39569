"""Restarts and upgrades of two pools, one after the other, while clients go on: not one call of theirs fails.

Clients come through nginx as docs/deploy.md has it, or straight to a pool; some keep their connections, as SDKs do.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from faulty import FaultyRouter, Make
from harness import ROOT, eventually
from load_kit import Call, Key, Load, make_key
from nginx_kit import nginx
from pools_kit import Pools
from postgres_kit import PostgresServer
from reckoning import limits_are_watched, reckon
from sizes import LONG, SEED, size

Tell = Callable[[object], None]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
ENOUGH = 20  # calls of each client load between two steps
RATE = 30.0  # calls a second of each load: what these tests ask is who fails, not how much fits


@dataclass
class Front:
    """Where the load goes to."""

    proxy_url: str


@pytest.fixture(scope="module")
def all_pools(make: Make, postgres_server: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pools]:
    pools = Pools(make, postgres_server, tmp_path_factory.mktemp("redis"), ROUTER_TRUSTED_PROXIES="127.0.0.1")
    try:
        yield pools
    finally:
        pools.close()


@pytest.fixture
def pools(all_pools: Pools) -> Pools:
    """They, ready again. Whoever upgrades them comes last."""
    all_pools.start()
    return all_pools


@pytest.fixture
def front(pools: Pools, tmp_path: Path) -> Iterator[Front]:
    with nginx(tmp_path, [router.proxy_url for router in pools], pools.first.web_url) as url:
        yield Front(url)


def keys_of(pools: Pools) -> list[Key]:
    """Without a limit, with one that is far, and with a rate that is none."""
    return [
        make_key(pools.first, "free"),
        make_key(pools.first, "far", spend_limit_usd="50"),
        make_key(pools.first, "rate", spend_limit_usd="40", rate_limit_rpm=1_000_000),
    ]


@contextlib.contextmanager
def loaded(front: Front, keys: Sequence[Key]) -> Iterator[list[Load]]:
    """Clients that keep their connections, and others."""
    with (
        Load(front, keys, seed=SEED, clients=4, rate=RATE, slow=1.0, keep=True) as kept,
        Load(front, keys, seed=SEED + 1, clients=3, rate=RATE, slow=1.0) as new,
    ):
        yield [kept, new]


def wait_for(loads: Sequence[Load]) -> None:
    for load in loads:
        load.wait_for(ENOUGH)


def calls_of(loads: Sequence[Load]) -> list[Call]:
    return [made for load in loads for made in load.calls]


def assert_all_served(loads: Sequence[Load]) -> None:
    failed = [
        f"{call.at:.3f} {call.name} {call.streamed} {call.reply.status} {call.reply.code} {call.reply.body[-300:]!r}"
        for call in calls_of(loads)
        if not call.served
    ]
    assert not failed, "\n".join(failed)


def slowest(loads: Sequence[Load]) -> float:
    return max(call.reply.seconds for call in calls_of(loads))


def reload(router: FaultyRouter) -> None:
    """New workers; returns when the last old one has gone."""
    old = set(router.worker_pids())
    os.kill(router.supervisor_pid, signal.SIGHUP)
    eventually(lambda: not old & set(router.worker_pids()), 45, "new workers")


def restart(router: FaultyRouter) -> None:
    assert router.stop("proxy") == 0
    router.start("proxy")
    router.wait_until_ready()


def test_pools_are_reloaded_and_restarted_in_turn(pools: Pools, front: Front, tell: Tell) -> None:
    keys = keys_of(pools)
    before = pools.generation()
    with loaded(front, keys) as loads, limits_are_watched(pools.first, keys, 0.2):
        wait_for(loads)
        for _ in range(size(1, 20)):
            for router in pools:
                if LONG or router is pools.first:  # the upgrade below does the same the other way round
                    reload(router)
                    wait_for(loads)
                if LONG or router is pools.second:
                    restart(router)
                    wait_for(loads)
    tell(f"{reckon(pools.first, calls_of(loads), keys)}; the slowest {slowest(loads):.2f} s")
    assert_all_served(loads)
    assert pools.generation() == before


def test_a_reload_is_not_noticed_by_who_comes_straight_to_the_pool(pools: Pools, tell: Tell) -> None:
    """No connection is refused, and none that is kept is lost."""
    keys = keys_of(pools)
    with loaded(Front(pools.first.proxy_url), keys) as loads:
        wait_for(loads)
        for _ in range(size(1, 20)):
            reload(pools.first)
            wait_for(loads)
    tell(
        f"{reckon(pools.first, calls_of(loads), keys)}; the slowest {slowest(loads):.2f} s, "
        f"{loads[0].opened} connections of clients that keep theirs"
    )
    assert_all_served(loads)


# An upgrade

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "9999", "LATEST", None, None


def upgrade():
    for table in ("proxy_keys", "usage_records", "journals", "accounting_state"):
        op.add_column(table, sa.Column("of_the_next_release", sa.BigInteger(), nullable=True))
    op.create_table("of_the_next_release", sa.Column("id", sa.BigInteger(), primary_key=True))
    op.create_index("ix_proxy_keys_next", "proxy_keys", ["of_the_next_release"])
"""


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """This release once more, with what a later one may have changed: another script for the counters, another table."""
    tree = tmp_path / "next"
    tree.mkdir()
    for name in ("shared", "proxyd", "webapp", "migrations", "templates", "static", "wsgi.py"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tree / name)
    changes = tree / "shared" / "counters" / "redis" / "lua_batch.py"
    text = changes.read_text(encoding="utf-8")
    assert "local decisions, admitted, total" in text
    changes.write_text(
        text.replace("local decisions, admitted, total", "local release = 'next'\n  local decisions, admitted, total")
    )
    versions = tree / "migrations" / "versions"
    latest = max(path.stem[:4] for path in versions.glob("[0-9]*.py"))
    (versions / "9999_next.py").write_text(MIGRATION.replace("LATEST", latest))
    return tree


def upgrade(router: FaultyRouter, tree: Path) -> None:
    """One machine, as docs/operations.md says."""
    for program in ("proxy", "dashboard"):
        assert router.stop(program) == 0
        router.root = tree
        router.start(program)
    router.wait_until_ready()


@pytest.mark.long
def test_pools_are_upgraded_in_turn(pools: Pools, front: Front, next_release: Path, tell: Tell) -> None:
    """The tables first, while the old release serves; then one machine after the other. Meanwhile both are there.

    Counters that are lost between two releases are made once, whichever of them makes them.
    """
    keys = keys_of(pools)
    before = pools.generation()
    with loaded(front, keys) as loads:
        wait_for(loads)
        pools.first.root = next_release
        pools.first.run("-m", "flask", "--app", "wsgi", "bootstrap")
        pools.first.root = ROOT
        wait_for(loads)
        if LONG:  # as below, where the new release is there already
            restart(pools.second)
            wait_for(loads)
        upgrade(pools.first, next_release)
        wait_for(loads)
        reload(pools.second)
        restart(pools.second)
        make_key(pools.second, "by the old dashboard")
        wait_for(loads)
        assert pools.generation() == before
    with loaded(front, keys) as shaken:
        wait_for(shaken)
        for number in range(size(1, 10)):
            pools.redis.empty()
            for load in shaken:
                load.wait_for(ENOUGH, key=keys[1])
            assert pools.generation() == before + number + 1
    after = pools.generation()
    with loaded(front, keys) as later:
        wait_for(later)
        upgrade(pools.second, next_release)
        wait_for(later)
    calm = [*loads, *later]
    refused = {call.reply.code for call in calls_of(shaken) if not call.served}
    tell(
        f"{reckon(pools.first, calls_of([*calm, *shaken]), keys)}; the slowest {slowest(calm):.2f} s; "
        f"while counters were lost, refused as {refused}"
    )
    assert_all_served(calm)
    assert refused <= {"limits_unavailable"}
    assert pools.generation() == after

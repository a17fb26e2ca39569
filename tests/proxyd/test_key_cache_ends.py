"""What time alone makes of a key that is kept: a raise of its limit ends, whether the database answers or not."""

from datetime import UTC, datetime

import pytest
from key_cache_kit import DOWN, MakeKey, World
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from proxyd.key_cache import KeyCache
from proxyd.known_key import KnownKey
from shared.models import KeySecret, ProxyKey
from shared.sealing import Sealer


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def cache(engine: Engine, sealer: Sealer, world: World) -> KeyCache:
    return world.cache(engine, sealer)


def found(known: KnownKey | None) -> KnownKey:
    assert known is not None
    return known


def raised(engine: Engine, key_id: str, until: float) -> None:
    with Session(engine) as session:
        row = session.get_one(ProxyKey, key_id)
        row.spend_limit_boost_nanos, row.spend_limit_boost_until = 40, datetime.fromtimestamp(until, UTC)
        session.commit()


@pytest.mark.parametrize("down", [False, True])
def test_a_raise_ends_at_its_instant_whether_the_database_answers_or_not(
    cache: KeyCache, make_key: MakeKey, world: World, engine: Engine, down: bool
) -> None:
    key_id, secret = make_key(spend_limit_nanos=100)
    raised(engine, key_id, world.at + 3)
    key = found(cache.find(secret.digest)).key
    assert (key.spend_limit_nanos, key.own_limit_nanos, key.boost) == (140, 100, (40, world.at + 3))
    world.down = DOWN if down else None
    if down:
        assert found(cache.reload(secret.digest)).key == key
    calls = world.calls
    world.at += 2.999
    assert found(cache.find(secret.digest)).key == key
    world.at += 0.001
    for _ in range(2):
        ended = found(cache.find(secret.digest))
        assert (ended.key.spend_limit_nanos, ended.key.boost, ended.changes_at) == (100, None, None)
    assert cache._entries[bytes.fromhex(secret.digest)] is ended  # so that it is worked out once
    assert world.calls == calls
    assert (found(cache.reload(secret.digest)).key, ended.key.version) == (ended.key, key.version)
    found(cache.reload(secret.digest))
    assert (secret.digest in cache._failing) == down


def test_a_raise_that_ends_while_the_database_is_down_is_not_found_again_by_a_reload(
    cache: KeyCache, make_key: MakeKey, world: World, engine: Engine
) -> None:
    key_id, secret = make_key(spend_limit_nanos=100)
    raised(engine, key_id, world.at + 3)
    cache.find(secret.digest)
    world.down = DOWN
    world.at += 3
    assert found(cache.reload(secret.digest)).key.spend_limit_nanos == 100


def test_a_raise_and_a_grace_end_each_at_its_own_time(
    cache: KeyCache, make_key: MakeKey, world: World, engine: Engine
) -> None:
    key_id, secret = make_key(spend_limit_nanos=100)
    raised(engine, key_id, world.at + 3)
    with Session(engine) as session:
        session.get_one(KeySecret, secret.digest).valid_until = datetime.fromtimestamp(world.at + 5, UTC)
        session.commit()
    assert found(cache.find(secret.digest)).changes_at == world.at + 3
    world.at += 3
    known = found(cache.find(secret.digest))
    assert (known.key.spend_limit_nanos, known.changes_at) == (100, world.at + 2)
    world.at += 2
    assert cache.find(secret.digest) is None

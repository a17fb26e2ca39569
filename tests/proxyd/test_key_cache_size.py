"""How many keys are remembered, and what it costs to forget the oldest."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from proxyd import key_cache
from proxyd.key_cache import KeyCache
from shared.keys import NewKey
from shared.sealing import Sealer

MakeKey = Callable[..., tuple[str, NewKey]]


@pytest.fixture
def cache(engine: Engine, sealer: Sealer) -> KeyCache:
    def here(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    return KeyCache(engine, sealer, here)


def test_a_full_cache_lets_the_oldest_go(cache: KeyCache, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_cache, "MAX_ENTRIES", 3)
    secrets = [make_key()[1] for _ in range(4)]
    for secret in secrets[:3]:
        cache.find(secret.digest)
    cache.reload(secrets[0].digest)  # the newest now
    cache.find(secrets[3].digest)
    assert list(cache._entries) == [secrets[2].digest, secrets[0].digest, secrets[3].digest]


def test_a_full_cache_lets_the_oldest_go_in_constant_time(cache: KeyCache) -> None:
    """100,000 made-up secrets fill the memory of unknown ones; 60,000 more cost each no more than the first did."""

    def cost(first: int, count: int) -> float:
        began = time.process_time()
        for number in range(first, first + count):
            key_cache._remember(cache._unknown, str(number), 1000.0)
        return (time.process_time() - began) / count

    filling = cost(0, key_cache.MAX_ENTRIES)
    full = cost(key_cache.MAX_ENTRIES, 60_000)
    assert len(cache._unknown) == key_cache.MAX_ENTRIES
    assert full < 10 * filling

"""How many keys are remembered, and what it costs to forget the oldest."""

import gc
import time
import tracemalloc
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
    kept = [place.hex() for place in cache._entries]
    assert kept == [secrets[2].digest, secrets[0].digest, secrets[3].digest]


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


def test_a_key_takes_some_eight_hundred_bytes(cache: KeyCache, make_key: MakeKey) -> None:
    """What a hundred thousand of them share (lists, limits, credentials, rules) stands once."""

    def cost() -> float:
        fields = {"rate_limit_rpm": 1_000, "spend_limit_nanos": 10**12, "allowed_models": ["gpt-4o*"]}
        keys = [make_key(**fields)[1] for _ in range(210)]
        for secret in keys[:10]:
            cache.find(secret.digest)
        gc.collect()
        tracemalloc.start()
        try:
            for secret in keys[10:]:
                cache.find("".join(secret.digest))  # a text of its own, as the way of a request makes it
            gc.collect()
            return tracemalloc.get_traced_memory()[0] / 200
        finally:
            tracemalloc.stop()

    assert min([cost() for _ in range(3)]) < 820  # whatever else this process remembers meanwhile, it does once


def test_equal_values_of_keys_are_one_object(cache: KeyCache, make_key: MakeKey) -> None:
    fields = {"rate_limit_rpm": 1_000, "spend_limit_nanos": 10**12, "allowed_models": ["gpt-4o*"]}
    one, other = (cache.find(make_key(**fields)[1].digest) for _ in range(2))
    assert one is not None
    assert other is not None
    assert one.credentials is other.credentials
    for name in (
        "org_id",
        "allowed_models",
        "allowed_providers",
        "allowed_networks",
        "spend_limit_nanos",
        "rate_limit_rpm",
    ):
        assert getattr(one.key, name) is getattr(other.key, name), name

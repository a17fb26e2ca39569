"""The whole router with its counters on Redis: what `test_limits` asks, and a server that is emptied and restarted."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from calls import chat, code, marker, seen, spend_of
from harness import Router, eventually
from redis_kit import RedisServer

from shared import money

pytestmark = pytest.mark.slow

_SUITE = import_module("test_limits")
globals().update({name: getattr(_SUITE, name) for name in dir(_SUITE) if name.startswith("test_")})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def router(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of this file."""
    router = Router(tmp_path_factory.mktemp("router") / "data", ROUTER_LIMITS_URL=server.url)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
    assert router.leaks() == []


@pytest.mark.parametrize("harm", ["emptied", "restarted"])
def test_what_was_spent_outlives_the_server(server: RedisServer, router: Router, harm: str) -> None:
    key_id, key = router.create_key(name=harm, spend_limit_usd="1.00", rate_limit_rpm=3)
    text = marker()
    assert [chat(router, key, text).status_code for _ in range(2)] == [200, 200]
    eventually(lambda: money.from_usd(spend_of(router, key_id)["held_usd"]) == 0)
    before = spend_of(router, key_id)
    if harm == "emptied":
        server.empty()
    else:
        server.tell("SAVE")
        server.stop()
        server.start()
    eventually(lambda: chat(router, key, text).status_code == 200, what="another request")
    assert code(chat(router, key, text)) == "rate_limited"
    assert seen(router, text) == 3
    eventually(lambda: money.from_usd(spend_of(router, key_id)["held_usd"]) == 0)
    spent = money.from_usd(before["spent_usd"]) // 2 * 3
    # A dashboard whose connection was cut tells what the ledger knows, which may be a moment behind.
    eventually(lambda: money.from_usd(spend_of(router, key_id)["spent_usd"]) == spent, what="the third request's cost")

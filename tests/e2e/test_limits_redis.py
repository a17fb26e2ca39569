"""The whole router with its counters on Redis: what tests of limits ask, and a server that is emptied and restarted."""

from collections.abc import Iterator
from importlib import import_module

import pytest
from calls import about, chat, code, marker, seen, spend_of
from harness import Router, eventually
from redis_kit import RedisServer

from shared import money

pytestmark = pytest.mark.slow

for _suite in map(import_module, ("test_limits", "test_tokens_a_minute")):
    globals().update({name: getattr(_suite, name) for name in dir(_suite) if name.startswith("test_")})


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


def test_tokens_of_the_last_minute_outlive_the_server(server: RedisServer, router: Router) -> None:
    """Of what has ended as it was used: by both workers, who tell the new counters."""
    _, key = router.create_key(name="tokens", rate_limit_tpm=20_000)

    def used() -> int:
        return 20_000 - int(about(router, key)["remaining_tokens"])

    usages = [chat(router, key).json()["usage"]["total_tokens"] for _ in range(6)]
    eventually(lambda: used() == sum(usages), what="the true figures")
    server.empty()
    eventually(lambda: chat(router, key).status_code == 200, what="another request")
    eventually(lambda: used() == sum(usages) * 7 // 6, what="all seven")

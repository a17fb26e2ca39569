"""The sum of large bodies is bounded; whoever waits comes in order, and a full key only waits for itself."""

import gevent
from socket_kit import until

from proxyd.bodies.memory import BodyMemory, Claim


def grown(memory: BodyMemory, key_id: str, size: int) -> Claim:
    claim = memory.claim(key_id)
    assert claim.grow(size, 0.0)
    return claim


def test_it_works() -> None:
    memory = BodyMemory(100, 50)
    first = grown(memory, "a", 30)
    assert memory.held_bytes == 30
    assert first.grow(20, 0.0)  # it has more already
    assert first.grow(50, 0.0)
    assert memory.held_bytes == 50
    first.release()
    first.release()
    assert memory.held_bytes == 0


def test_a_key_has_its_share_and_no_more() -> None:
    memory = BodyMemory(100, 50)
    first = grown(memory, "a", 50)
    assert not memory.claim("a").grow(1, 0.01)
    second = grown(memory, "b", 50)
    assert not memory.claim("c").grow(1, 0.01)
    assert memory.held_bytes == 100
    first.release()
    second.release()
    assert memory.held_bytes == 0


def test_who_waits_comes_in_order() -> None:
    memory = BodyMemory(100, 100)
    first = grown(memory, "a", 90)
    served: list[str] = []

    def want(key_id: str, size: int) -> Claim:
        claim = memory.claim(key_id)
        assert claim.grow(size, 5.0)
        served.append(key_id)
        return claim

    large = gevent.spawn(want, "b", 80)
    gevent.sleep(0)
    small = gevent.spawn(want, "c", 10)  # it would fit, but a large one must not wait for ever
    gevent.sleep(0.01)
    assert served == []
    first.release()
    gevent.joinall([large, small], raise_error=True)
    assert served == ["b", "c"]


def test_who_waits_for_its_own_key_keeps_nobody() -> None:
    memory = BodyMemory(100, 50)
    grown(memory, "a", 50)
    waiting = gevent.spawn(memory.claim("a").grow, 50, 5.0)
    gevent.sleep(0)
    grown(memory, "b", 50)
    assert not waiting.ready()
    waiting.kill()


def test_who_gives_up_waits_no_more() -> None:
    memory = BodyMemory(100, 100)
    first = grown(memory, "a", 90)
    assert not memory.claim("b").grow(20, 0.01)
    killed = gevent.spawn(memory.claim("c").grow, 20, 5.0)
    gevent.sleep(0)
    killed.kill()
    grown(memory, "d", 10)
    first.release()
    until(lambda: memory.held_bytes == 10)

"""Doing together what many greenlets want at once."""

import gevent
import pytest

from proxyd.accounting.group_commit import GroupCommit, Submission


class World:
    def __init__(self) -> None:
        self.batches: list[list[Submission]] = []
        self.pause = 0.0
        self.failure: Exception | None = None
        self.turns: GroupCommit[Submission] = GroupCommit(self.run)

    def run(self, errands):
        self.batches.append(errands)
        if self.pause:
            gevent.sleep(self.pause)
        if self.failure is not None:
            raise self.failure


@pytest.fixture
def world():
    return World()


def test_it_works(world):
    errand = Submission()
    world.turns.take(errand)
    assert errand.done
    assert world.batches == [[errand]]


def test_all_who_come_at_once_share_a_turn(world):
    gevent.joinall([gevent.spawn(world.turns.take, Submission()) for _ in range(20)], raise_error=True, timeout=5)
    assert [len(batch) for batch in world.batches] == [20]


def test_those_who_come_meanwhile_share_the_next(world):
    world.pause = 0.01
    first = gevent.spawn(world.turns.take, Submission())
    gevent.sleep(0.002)
    rest = [gevent.spawn(world.turns.take, Submission()) for _ in range(5)]
    gevent.joinall([first, *rest], raise_error=True, timeout=5)
    assert [len(batch) for batch in world.batches] == [1, 5]
    world.turns.take(Submission())
    assert len(world.batches) == 3


def test_one_failure_of_all_reaches_everybody_and_the_next_turn_is_unharmed(world):
    world.failure = ValueError("broken")
    greenlets = [gevent.spawn(world.turns.take, Submission()) for _ in range(3)]
    gevent.joinall(greenlets, timeout=5)
    assert [str(greenlet.exception) for greenlet in greenlets] == ["broken"] * 3
    world.failure = None
    world.turns.take(Submission())


def test_an_errands_own_failure_reaches_its_owner_only(world):
    bad, good = Submission(), Submission()

    def run(errands):
        for errand in errands:
            errand.failure = KeyError("mine") if errand is bad else None

    turns = GroupCommit(run)
    greenlets = [gevent.spawn(turns.take, bad), gevent.spawn(turns.take, good)]
    gevent.joinall(greenlets, timeout=5)
    assert isinstance(greenlets[0].exception, KeyError)
    assert greenlets[1].successful()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_cut_off_while_waiting_blocks_nobody(world, victim):
    world.pause = 0.02
    first = gevent.spawn(world.turns.take, Submission())
    gevent.sleep(0.005)
    waiting = [gevent.spawn(world.turns.take, Submission()) for _ in range(3)]
    gevent.sleep(0.005)
    waiting[victim].kill()
    others = [greenlet for number, greenlet in enumerate(waiting) if number != victim]
    gevent.joinall([first, *others], raise_error=True, timeout=5)
    assert [len(batch) for batch in world.batches] == [1, 2]


def test_a_leader_cut_off_before_its_turn_hands_over(world):
    leader = gevent.spawn(world.turns.take, Submission())
    follower = gevent.spawn(world.turns.take, Submission())
    gevent.sleep(0)
    leader.kill(block=False)
    follower.join(timeout=5)
    assert follower.successful()
    world.turns.take(Submission())

"""Doing together what many greenlets want at once."""

from collections.abc import Callable

import gevent
import pytest
from greenlet import greenlet

from proxyd.accounting.group_commit import MAX_BATCH, GroupCommit, Interrupted, Submission


class World:
    """A batch takes as long, and fails, as a test says."""

    def __init__(self) -> None:
        self.batches: list[list[Submission]] = []
        self.pause = 0.0
        self.failure: Exception | None = None
        self.commit: GroupCommit[Submission] = GroupCommit(self.run)

    def run(self, submissions: list[Submission]) -> None:
        self.batches.append(submissions)
        if self.pause:
            gevent.sleep(self.pause)
        if self.failure is not None:
            raise self.failure

    def submit(self) -> None:
        self.commit.submit(Submission())

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


@pytest.fixture
def world() -> World:
    return World()


def several(act: Callable[[], None], count: int) -> "list[gevent.Greenlet[..., None]]":
    return [gevent.spawn(act) for _ in range(count)]


def test_it_works(world: World) -> None:
    submission = Submission()
    world.commit.submit(submission)
    assert submission.done
    assert world.batches == [[submission]]


def test_all_who_come_at_once_share_a_batch(world: World) -> None:
    gevent.joinall(several(world.submit, 20), raise_error=True, timeout=5)
    assert world.sizes == [20]


def test_of_very_many_each_batch_takes_a_part_in_the_order_in_which_they_came(world: World) -> None:
    world.pause = 0.001
    submissions = [Submission() for _ in range(2 * MAX_BATCH + 50)]
    waiting = [gevent.spawn(world.commit.submit, submission) for submission in submissions]
    gevent.joinall(waiting, raise_error=True, timeout=5)
    assert world.sizes == [MAX_BATCH, MAX_BATCH, 50]
    assert [submission for batch in world.batches for submission in batch] == submissions
    assert not world.commit.running


def test_who_comes_alone_waits_for_nobody(world: World) -> None:
    """It says that nobody else can come, so nobody else is let go first."""
    other = gevent.spawn(world.submit)
    world.commit.submit(Submission(), alone=True)
    assert world.sizes == [1]
    other.join(timeout=5)
    assert world.sizes == [1, 1]


def test_those_who_come_meanwhile_share_the_next(world: World) -> None:
    world.pause = 0.2
    first = gevent.spawn(world.submit)
    gevent.sleep(0.002)
    gevent.joinall([first, *several(world.submit, 5)], raise_error=True, timeout=5)
    assert world.sizes == [1, 5]
    world.submit()
    assert world.sizes == [1, 5, 1]


def test_one_failure_of_all_reaches_everybody_and_the_next_batch_is_unharmed(world: World) -> None:
    world.failure = ValueError("broken")
    greenlets = several(world.submit, 3)
    gevent.joinall(greenlets, timeout=5)
    assert [str(greenlet.exception) for greenlet in greenlets] == ["broken"] * 3
    world.failure = None
    world.submit()


def test_a_submissions_own_failure_reaches_its_owner_only() -> None:
    bad, good = Submission(), Submission()

    def run(submissions: list[Submission]) -> None:
        bad.failure = KeyError("mine")

    commit: GroupCommit[Submission] = GroupCommit(run)
    greenlets = [gevent.spawn(commit.submit, bad), gevent.spawn(commit.submit, good)]
    gevent.joinall(greenlets, timeout=5)
    assert isinstance(greenlets[0].exception, KeyError)
    assert greenlets[1].successful()


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_whoever_is_cut_off_while_waiting_blocks_nobody(world: World, victim: int) -> None:
    world.pause = 0.2
    first = gevent.spawn(world.submit)
    gevent.sleep(0.005)
    waiting = several(world.submit, 3)
    gevent.sleep(0.005)
    waiting[victim].kill()
    others = [greenlet for number, greenlet in enumerate(waiting) if number != victim]
    gevent.joinall([first, *others], raise_error=True, timeout=5)
    assert world.sizes == [1, 2]


def test_a_leader_cut_off_before_its_batch_hands_over(world: World) -> None:
    leader, follower = several(world.submit, 2)
    gevent.get_hub().loop.run_callback(leader.throw, gevent.GreenletExit)  # while it lets the others go first
    follower.join(timeout=5)
    assert follower.successful()
    world.submit()
    assert world.sizes == [1, 1]


def test_a_leader_cut_off_within_its_batch_tells_the_others_and_the_next_goes_on(world: World) -> None:
    world.pause = 0.2
    leader, follower = several(world.submit, 2)
    gevent.sleep(0.005)
    later = gevent.spawn(world.submit)
    gevent.sleep(0)
    leader.kill()
    gevent.joinall([follower, later], timeout=5)
    assert isinstance(follower.exception, Interrupted)
    assert later.successful()
    assert world.sizes == [2, 1]


@pytest.mark.parametrize("turns", range(6))
def test_one_that_was_to_lead_and_is_cut_off_hands_over(world: World, turns: int) -> None:
    world.pause = 0.2
    first = gevent.spawn(world.submit)
    gevent.sleep(0.002)
    heir, last = several(world.submit, 2)
    first.join(timeout=5)
    for _ in range(turns):
        gevent.sleep(0)
    heir.kill(block=False)
    gevent.joinall([heir, last], timeout=5)
    assert heir.dead
    assert last.dead
    world.submit()


def test_whoever_was_cut_off_is_woken_by_nothing_of_the_batch(world: World) -> None:
    """It may wait for something else by then, such as a socket to say goodbye on."""
    slept: list[float] = []

    def submit_and_clean_up() -> None:
        try:
            world.submit()
        finally:
            clock = gevent.get_hub().loop
            began = clock.now()
            gevent.sleep(0.05)
            clock.update_now()
            slept.append(clock.now() - began)

    real = world.run

    def kill_at_the_end(submissions: list[Submission]) -> None:
        real(submissions)
        follower.kill(block=False)

    world.commit._run = kill_at_the_end
    leader, follower = gevent.spawn(world.submit), gevent.spawn(submit_and_clean_up)
    gevent.joinall([leader, follower], timeout=5)
    assert world.sizes == [2]
    assert slept
    assert slept[0] >= 0.04


def test_whoever_fails_when_it_is_woken_keeps_no_other_waiting(world: World) -> None:
    """A plain greenlet has nobody who catches what it raises, and it comes up where all are woken."""

    def submit_and_fail() -> None:
        world.submit()
        raise ZeroDivisionError

    leader = gevent.spawn(world.submit)
    gevent.get_hub().loop.run_callback(greenlet(submit_and_fail, gevent.get_hub()).switch)
    followers = several(world.submit, 2)
    gevent.joinall([leader, *followers], timeout=5, raise_error=True)
    assert world.sizes == [4]
    assert all(one.successful() for one in followers)


def test_nobody_waits_for_ever_whoever_is_cut_off_and_whenever(world: World) -> None:
    world.pause = 0.001
    for turn in range(40):
        greenlets = several(world.submit, 6)
        for _ in range(turn % 5):
            gevent.sleep(0)
        greenlets[turn % 6].kill(block=False)
        gevent.sleep(0.0005 * (turn % 3))
        greenlets[(turn * 5 + 1) % 6].kill(block=False)
        assert len(gevent.joinall(greenlets, timeout=5)) == 6
    world.submit()

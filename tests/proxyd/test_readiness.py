"""Who asks whether the pool is ready is told before it ends."""

import os

from proxyd.readiness import LATELY_SECONDS, TELL_SECONDS, Readiness


def test_it_works() -> None:
    at = [100.0]
    readiness = Readiness(lambda: at[0])
    assert readiness.asked() == {}
    at[0] += LATELY_SECONDS - 1
    assert readiness.leave() == TELL_SECONDS
    assert list(readiness.asked()) == ["pool"]


def test_whom_nobody_has_asked_lately_need_not_wait() -> None:
    at = [100.0]
    readiness = Readiness(lambda: at[0])
    assert readiness.leave() == 0
    readiness.asked()
    at[0] += LATELY_SECONDS
    assert readiness.leave() == 0


def test_what_one_worker_was_asked_all_know() -> None:
    readiness = Readiness()
    pid = os.fork()
    if pid == 0:
        readiness.asked()
        readiness.leave()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert not readiness.ends
    assert readiness.leave() == TELL_SECONDS

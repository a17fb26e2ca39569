import pytest

from shared.counters import connect


class Clock:
    now = 1_800_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(tmp_path, clock):
    counters = connect(f"sqlite:///{tmp_path}/counters.db", clock=clock)
    yield counters.throttle
    counters.close()


def test_it_works(throttle, clock):
    assert throttle.wait_seconds("ann") == 0
    assert [throttle.failed("ann") for _ in range(8)] == [0, 0, 0, 0, 0, 1, 2, 4]
    assert throttle.wait_seconds("ann") == 4
    clock.now += 3
    assert throttle.wait_seconds("ann") == 1
    clock.now += 1
    assert throttle.wait_seconds("ann") == 0
    assert throttle.wait_seconds("bob") == 0


def test_the_wait_grows_to_five_minutes_and_no_further(throttle):
    assert [throttle.failed("ann") for _ in range(100)][12:] == [128, 256, *[300] * 86]
    assert throttle.wait_seconds("ann") == 300


def test_the_right_password_clears(throttle):
    for _ in range(9):
        throttle.failed("ann")
    throttle.cleared("ann")
    assert throttle.wait_seconds("ann") == 0
    assert throttle.failed("ann") == 0


def test_failures_are_forgotten_after_a_day(throttle, clock):
    for _ in range(20):
        throttle.failed("ann")
    clock.now += 24 * 3600
    assert throttle.wait_seconds("ann") == 0
    assert throttle.failed("ann") == 0


def test_old_entries_are_deleted(tmp_path, clock):
    counters = connect(f"sqlite:///{tmp_path}/counters.db", clock=clock)
    counters.throttle.failed("ann")
    clock.now += 24 * 3600
    counters.throttle.failed("bob")
    counters.lapse()
    assert counters._database.read("SELECT COUNT(*) FROM login") == [(1,)]


@pytest.mark.parametrize(
    "spelling", ["Ann@Example.com", " ann@example.com ", "\uff41nn@example.com", "ANN@EXAMPLE.COM"]
)
def test_spellings_of_a_name_are_one(throttle, spelling):
    for _ in range(6):
        throttle.failed("ann@example.com")
    assert throttle.wait_seconds(spelling) == 1


def test_a_restart_forgets_nothing_and_no_name_is_stored(tmp_path, clock):
    url = f"sqlite:///{tmp_path}/counters.db"
    first = connect(url, clock=clock)
    for _ in range(7):
        first.throttle.failed("ann@example.com")
    first.close()
    assert connect(url, clock=clock).throttle.wait_seconds("ann@example.com") == 2
    assert b"ann@example" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_a_clock_set_back_does_not_lock_out_for_longer(throttle, clock):
    for _ in range(6):
        throttle.failed("ann")
    clock.now -= 10_000
    assert throttle.wait_seconds("ann") <= 300

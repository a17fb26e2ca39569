"""The journal's directory read-only, full, gone; a worker without descriptors: what cannot be written down is not sent."""

import contextlib
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from faulty import FaultyRouter, Make
from harness import eventually
from load_kit import Key, Load, call, make_keys
from reckoning import limits_are_watched, reckon
from sizes import SEED, chance

Tell = Callable[[object], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def _mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        if os.environ.get("ROUTER_TEST_REQUIRE") == "all":
            pytest.fail(f"cannot mount: {done.stderr}")
        pytest.skip(f"cannot mount: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def small(make: Make) -> Iterator[FaultyRouter]:
    """A router whose journals lie on a small file system of their own."""
    router = make()
    journals = router.data_dir / "journals"
    journals.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", "size=24m,mode=0700", "faults", str(journals))
    try:
        router.start("sandbox", "proxy", "dashboard")
        yield router
    finally:
        router.stop_all()
        subprocess.run(["umount", "-l", str(journals)], check=False, capture_output=True)


@pytest.fixture
def mounted(small: FaultyRouter) -> FaultyRouter:
    small.wait_until_ready()
    return small


@contextmanager
def full(journals: Path) -> Iterator[None]:
    """Nothing fits on the disk any more."""
    ballast = journals / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(65_536))
            file.flush()
    try:
        yield
    finally:
        ballast.unlink()


@contextmanager
def read_only(journals: Path) -> Iterator[None]:
    """The file system turns read-only under open files, as it does after an error: those too cannot be written."""
    # A lazy remount is refused while files are open for writing, a bind mount on top is not; `full` covers open files.
    _mount("--bind", str(journals), str(journals))
    _mount("-o", "remount,bind,ro", str(journals))
    try:
        yield
    finally:
        subprocess.run(["umount", str(journals)], check=True, capture_output=True)


@pytest.mark.parametrize("fault", [full, read_only])
def test_a_worker_dies_while_the_journal_cannot_be_written(
    mounted: FaultyRouter, fault: Callable[[Path], contextlib.AbstractContextManager[None]], tell: Tell
) -> None:
    """M1, M8. Every connection is answered, with 503 where nothing can be written; nothing of before is lost."""
    router = mounted
    keys = make_keys(router)
    with Load(router, keys, seed=SEED, clients=4) as load, limits_are_watched(router, keys):
        load.wait_for(20)
        with fault(router.data_dir / "journals"):
            router.kill_a_worker(chance("full"))
            eventually(lambda: len(router.worker_pids()) == router.workers, 20, "another worker")
            time.sleep(1)
            began = time.time()
            eventually(lambda: sum(load.told(began).values()) >= 60, 40, "answers of both slots")
            told = load.told(began)
            assert told["limits_unavailable"] > 0
            assert not [name for name in told if name.startswith("broken")]
            assert max(one.reply.seconds for one in list(load.calls) if one.at >= began) < 10
        router.wait_until_ready()
        load.wait_for(20, key=keys[1])
    tell(f"{dict(told)} meanwhile; {reckon(router, load.calls, keys)}")


def test_what_was_begun_ends_on_a_full_disk(mounted: FaultyRouter, tell: Tell) -> None:
    router = mounted
    keys = make_keys(router)
    with Load(router, keys[1:2], seed=SEED, clients=6, slow=1.5) as load:
        load.wait_for(10)
        with full(router.data_dir / "journals"):
            # Each worker has room in its segment for the ends of what it began, and may go on until that is used up.
            time.sleep(2)
        load.wait_for(10)
    found = reckon(router, load.calls, keys)
    tell(found)
    assert found.crash_rows == 0
    assert set(found.outcomes) == {"ok"}


def test_a_worker_without_descriptors(router: FaultyRouter, tell: Tell) -> None:
    """It refuses or does not answer, and what it has served is in the ledger; with descriptors it goes on."""
    keys = make_keys(router)
    pid = router.worker_pids()[0]
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with Load(router, keys, seed=SEED, clients=4) as load, limits_are_watched(router, keys):
        load.wait_for(10)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (len(list(Path(f"/proc/{pid}/fd").iterdir())), before[1]))
        time.sleep(2)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        load.wait_for(20)
    router.wait_until_ready()
    tell(f"{dict(load.told())}; {reckon(router, load.calls, keys)}")


def test_the_data_directory_is_deleted_while_it_runs(make: Make, tell: Tell) -> None:
    """M17. Nothing that costs money is sent any more, whoever asks, and /readyz says why."""
    router = make()
    router.start("sandbox", "proxy", "dashboard")
    router.wait_until_ready()
    keys = make_keys(router)
    assert [call(router, key).served for key in keys] == [True] * len(keys)
    shutil.rmtree(router.data_dir)
    sent = router.invoice()["count"]
    told = [_code(router, key) for key in keys * 2]
    assert router.invoice()["count"] == sent
    assert set(told) <= {"limits_unavailable", "keys_unavailable"}
    ready = requests.get(f"{router.proxy_url}/readyz", timeout=10)
    assert ready.status_code == 503
    tell(f"{len(told)} refused; /readyz {ready.text}")
    router.kill_everything()
    router.processes.pop("proxy")
    router.stop_all()


def _code(router: FaultyRouter, key: Key) -> str | None:
    reply = call(router, key).reply
    assert reply.complete
    assert reply.seconds < 10
    return reply.code

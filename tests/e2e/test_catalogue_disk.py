"""Case M13 of the catalogue: a journal that cannot be written."""

import contextlib
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest
import requests
from calls import about, chat, code, marker, seen
from harness import Json, Router, eventually
from hurt_kit import ledger_locked, settled


@pytest.fixture(scope="module")
def hurt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router of its own, two workers, to be hurt."""
    hurt = Router(tmp_path_factory.mktemp("hurt") / "data")
    try:
        hurt.start_all()
        yield hurt
    finally:
        hurt.stop_all()
    assert hurt.leaks() == []


@pytest.fixture
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """A router whose journals lie on a disk of 6 MB: each of its two workers takes 1 MB at a time."""
    data_dir = tmp_path_factory.mktemp("small") / "data"
    journals = data_dir / "journals"
    journals.mkdir(parents=True, mode=0o700)
    command = ["mount", "-t", "tmpfs", "-o", "size=6m,mode=0700", "tmpfs", str(journals)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here; the other way to fill one is tested beside")
    router = Router(data_dir)
    try:
        router.start_all()
        yield router
    finally:
        router.stop_all()
        subprocess.run(["umount", str(journals)], check=True)


def serve_until_refused(router: Router, key: str) -> int:
    """Ask on eight connections until every one of them is refused, several times in a row; how many were served."""
    counts = [0] * 8

    def ask(number: int) -> None:
        refused = 0
        while refused < 8:  # each on a connection of its own, so that both workers are asked
            if chat(router, key, max_tokens=1).status_code == 200:
                counts[number] += 1
                refused = 0
            else:
                refused += 1

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts)


def balances(router: Router, key: str) -> list[Json]:
    """What workers say of a key. One that cannot tell the counters of what has ended there says that, and no old balance."""
    url, head = f"{router.proxy_url}/v1/key", {"Authorization": f"Bearer {key}"}
    answers = [requests.get(url, headers=head, timeout=10) for _ in range(6)]
    assert {code(answer) for answer in answers if answer.status_code != 200} <= {"limits_unavailable"}
    return [answer.json() for answer in answers if answer.status_code == 200]


def check_refused_and_healed(router: Router, fill: Callable[[], object], empty: Callable[[], object]) -> None:
    """With a full disk all is refused before it is sent, and charged nothing; with room again all is as before."""
    key_id, key = router.create_key(name="capped", spend_limit_usd="1", rate_limit_rpm=1_000)
    free_id, free = router.create_key(name="uncapped")
    assert [chat(router, either).status_code for either in (key, free) for _ in range(4)] == [200] * 8
    router.wait_for_ledger(key_id, 4)
    pids = router.worker_pids()
    text = marker()

    def check_refused(one: str) -> None:
        refused = chat(router, one, text)
        assert (refused.status_code, code(refused)) == (503, "limits_unavailable")

    fill()
    # A journal goes on in the room that is its own already, and what is served from it is in the ledger as ever.
    served = serve_until_refused(router, free)
    # The first request of each worker finds it out.
    for _ in range(8):
        check_refused(key)
    before = balances(router, key)
    for one in (key, free) * 4:
        check_refused(one)
    for told in before + balances(router, key):
        assert told["remaining_requests"] >= 1_000 - 4 - len(pids)
        assert told["spend"]["held_usd"] == "0.00"
        assert told == before[0]
    ready = requests.get(f"{router.proxy_url}/readyz", timeout=10)
    assert (ready.status_code, "journal" in ready.text) == (503, True)
    assert seen(router, text) == 0
    empty()
    # Counters that did not answer are asked again half a second later.
    _, probe = router.create_key(name="probe", spend_limit_usd="1")
    eventually(lambda: [chat(router, probe).status_code for _ in range(8)] == [200] * 8, what="the recovery")
    assert [chat(router, either, text).status_code for either in (key, free) for _ in range(4)] == [200] * 8
    assert requests.get(f"{router.proxy_url}/readyz", timeout=10).status_code == 200
    assert router.worker_pids() == pids
    healed = about(router, key)
    assert healed["remaining_requests"] >= 1_000 - 8 - len(pids), "what was refused was counted"
    assert [row["outcome"] for row in settled(router, key_id, 8)] == ["ok"] * 8
    assert len(settled(router, free_id, served + 8)) == served + 8


def test_m13_a_full_disk_refuses_before_the_call_and_recovers_by_itself(small_disk: Router) -> None:
    filler = small_disk.data_dir / "journals" / "filler"

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)

    check_refused_and_healed(small_disk, fill, filler.unlink)


def test_m13_files_that_may_not_grow_are_as_good_as_a_full_disk(hurt: Router) -> None:
    """Journal and counters alike cannot be written: a limit on the size of files is set on the running workers."""

    def limit(size: int) -> None:
        for pid in hurt.worker_pids():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    waiting_id, waiting = hurt.create_key(name="on its way to the ledger", spend_limit_usd="1")

    def fill() -> None:
        with ledger_locked(hurt):
            assert [chat(hurt, waiting).status_code for _ in range(4)] == [200] * 4
            limit(1)

    check_refused_and_healed(hurt, fill, lambda: limit(resource.RLIM_INFINITY))
    assert len(settled(hurt, waiting_id, 4)) == 4

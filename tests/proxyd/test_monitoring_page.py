"""What a worker counts stands in its page: while it lives, and after it has died."""

import os
import time
from pathlib import Path

import pytest

from proxyd.accounting.pending_admission import PendingAdmission
from proxyd.monitoring import page as pages
from proxyd.monitoring.page import WorkerPage, read_pages
from shared.counters import Admitted, Charge, RateLimited, RateState
from shared.policy import Deny, Reason

CHARGE = Charge("key_1", "org_1", 1, 1, None, None, "never", 0)


def batch(admitted: int, refused: int = 0, *, alone: int = 0) -> list[PendingAdmission]:
    """Of a batch that was run: those who wanted to be admitted, and ends that came along."""
    found = []
    for number in range(admitted + refused):
        admission = PendingAdmission(number, CHARGE, None)
        admission.failure = None
        admission.decision = Admitted(1, 1) if number < admitted else RateLimited(RateState(1, 0, 0), 1.0)
        found.append(admission)
    return found + [PendingAdmission(0, None, None) for _ in range(alone)]


def test_it_works(tmp_path: Path) -> None:
    page = WorkerPage(tmp_path)
    for size in (1, 3, 100, 250):
        page.count_batch(batch(size - 1, 1))
    page.count_batch(batch(0, alone=1))
    page.count_deny(Deny(Reason.RATE_LIMITED))
    page.count_deny(Deny(Reason.RATE_LIMITED))
    page.write(slot=3, in_flight=7)
    page.name_journal("01ARZ3NDEKTSV4RRFFQ69G5FAV")
    (found,) = read_pages(tmp_path)
    values = found.values
    assert found.alive
    assert found.journal == "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    assert (values["pid"], values["slot"], values["in_flight"]) == (os.getpid(), 3, 7)
    assert (values["admitted"], values["batched_with_others"]) == (350, 353)
    assert [values[f"batches_to_{step}"] for step in pages.BATCH_STEPS] == [1, 0, 1, 0, 0, 0, 0, 2]
    assert (values["refused_rate_limited"], values["refused_key_paused"]) == (2, 0)


def test_who_was_charged_and_could_not_begin_was_not_admitted(tmp_path: Path) -> None:
    page = WorkerPage(tmp_path)
    failed = batch(3)
    failed[0].failure = OSError()
    failed[1].abandoned = True  # its client left while it waited: it ends without having been sent
    page.count_batch(failed)
    (found,) = read_pages(tmp_path)
    assert (found.values["admitted"], found.values["batched_with_others"]) == (1, 3)


def test_a_provider_that_fails_has_refused_nobody(tmp_path: Path) -> None:
    page = WorkerPage(tmp_path)
    for provider in ("openai", "openai", "groq"):
        page.count_deny(Deny(Reason.PROVIDER_TIMEOUT, {"provider": provider, "detail": "."}))
    page.count_deny(Deny(Reason.PROVIDER_NOT_ALLOWED, {"provider": "openai"}))
    (found,) = read_pages(tmp_path)
    counted = {name: value for name, value in found.values.items() if value and name.startswith(("refused", "failed"))}
    assert counted == {
        "failed_openai_provider_timeout": 2, "failed_other_provider_timeout": 1, "refused_provider_not_allowed": 1,
    }  # fmt: skip


def test_the_sums_outlive_the_worker(tmp_path: Path) -> None:
    page = WorkerPage(tmp_path)
    page.count_deny(Deny(Reason.INVALID_PROXY_KEY))
    assert [found.alive for found in read_pages(tmp_path)] == [True]
    del page  # as the end of its process does: the lock goes with the memory
    (found,) = read_pages(tmp_path)
    assert (found.alive, found.values["refused_invalid_proxy_key"]) == (False, 1)


def test_a_page_of_another_release_is_left_alone_until_its_worker_is_dead(tmp_path: Path) -> None:
    page = WorkerPage(tmp_path)
    (path,) = tmp_path.iterdir()
    with path.open("r+b") as file:
        file.write(b"another!")
    assert list(read_pages(tmp_path)) == []
    assert path.exists()
    del page
    assert list(read_pages(tmp_path)) == []
    assert not path.exists()


def test_drafts_of_the_dead_go(tmp_path: Path) -> None:
    fresh, old = tmp_path / "1.draft", tmp_path / "2.draft"
    fresh.touch()
    old.touch()
    os.utime(old, (time.time() - 100, time.time() - 100))
    assert list(read_pages(tmp_path)) == []
    assert (fresh.exists(), old.exists()) == (True, False)
    assert list(read_pages(tmp_path / "nowhere")) == []


def test_a_worker_without_room_for_a_page_counts_for_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    page = WorkerPage(tmp_path / "file")
    page.count_deny(Deny(Reason.KEY_PAUSED))
    assert "missing in the metrics" in caplog.text


def test_every_reason_and_number_has_a_place_of_its_own() -> None:
    assert len(set(pages._NAMES)) == len(pages._NAMES)
    assert pages._JOURNAL.stop <= pages._BYTES

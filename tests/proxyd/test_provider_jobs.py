"""Jobs that are billed later, on SQLite and on PostgreSQL: whose they are, and that each result is booked by one."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from ledger_kit import DAY, NOON, ended
from sqlalchemy import Engine, text

from proxyd.accounting.accounting_state import AccountingDatabase
from proxyd.accounting.journal_reader import Position
from proxyd.accounting.ledger import Ledger
from proxyd.accounting.provider_jobs import JOBS_KEPT, Job, ProviderJobs, ResultsFile, Taken

JOB = Job(
    "org_1", "openai", "batch_1", "key_1", "/v1/batches", "/v1/responses", None, True, DAY, NOON, "203.0.113.7", "run 7",
    "cred_1",
)  # fmt: skip


@pytest.fixture
def jobs(any_engine: Engine, database: AccountingDatabase) -> ProviderJobs:
    database.register("01B", "machine_1")
    return ProviderJobs(any_engine)


def test_it_works(jobs: ProviderJobs) -> None:
    jobs.register(JOB)
    jobs.register(replace(JOB, key_id="key_2"))  # whoever came first
    assert jobs.find("org_1", "openai", "batch_1") == JOB
    assert jobs.find("org_2", "openai", "batch_1") is None
    assert jobs.find("org_1", "anthropic", "batch_1") is None
    assert jobs.has_open_batches("org_1", "openai")
    assert not jobs.has_open_batches("org_2", "openai")
    jobs.learn("org_1", "openai", {"batch_1": ResultsFile("file-1"), "batch_2": ResultsFile("file-2")})
    assert jobs.find_by_results("org_1", "openai", "file-1") == JOB
    assert not jobs.has_open_batches("org_1", "openai")
    assert jobs.find_by_results("org_1", "openai", "file-2") is None
    assert jobs.find_by_results("org_2", "openai", "file-1") is None


def test_a_model_is_learned_once(jobs: ProviderJobs) -> None:
    """Also where the file is known already; one that was told when the job began stays."""
    jobs.register(JOB)
    for model, expected in ((None, None), ("gpt-image-1", "gpt-image-1"), (None, "gpt-image-1"), ("o", "gpt-image-1")):
        jobs.learn("org_1", "openai", {"batch_1": ResultsFile("file-1", model)})
        assert jobs.find_by_results("org_1", "openai", "file-1") == replace(JOB, model=expected)


def test_a_result_is_taken_once(jobs: ProviderJobs) -> None:
    assert jobs.take(["a", "b"], "01W") == Taken({"a", "b"}, set())
    assert jobs.take(["b", "c"], "01B") == Taken({"c"}, {"b"})
    assert jobs.take(["a", "b", "c"], "01W") == Taken(set(), {"a", "b", "c"})
    assert jobs.take([], "01W") == Taken(set(), set())


def test_what_is_written_is_decided(jobs: ProviderJobs) -> None:
    jobs.take(["a", "b"], "01W")
    jobs.wrote(["a", "b"], "01B")  # not its own
    jobs.wrote(["a"], "01W")
    assert jobs.take(["a", "b"], "01B") == Taken(set(), {"b"})


def test_of_many_who_come_at_once_each_result_is_taken_by_one(jobs: ProviderJobs) -> None:
    ids = [f"job_{number}" for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(jobs.take, ids[n:] + ids[:n], "01W" if n % 2 else "01B") for n in range(4)]
        taken = [done.result().mine for done in running]
    assert sum(map(len, taken)) == 200
    assert set().union(*taken) == set(ids)


def test_what_is_booked_is_not_taken(jobs: ProviderJobs, ledger: Ledger) -> None:
    ledger.post("01W", [ended(1)], Position(), Position(1, 500, 1))
    assert jobs.take(["req_00000001", "req_00000002"], "01B") == Taken({"req_00000002"}, set())


def test_what_a_dead_worker_left_undone_is_taken_by_another_once_its_journal_is_in(
    jobs: ProviderJobs, ledger: Ledger, database: AccountingDatabase
) -> None:
    both = {"req_00000001", "req_00000002"}
    assert jobs.take(both, "01W").mine == both
    ledger.post("01W", [ended(1)], Position(), Position(1, 500, 1))
    assert jobs.take(both, "01B") == Taken(set(), {"req_00000002"})  # it may yet tell of it
    database.close("01W")
    assert jobs.take(both, "01B") == Taken({"req_00000002"}, set())
    assert jobs.take(both, "01W") == Taken(set(), {"req_00000002"})


def test_who_is_not_sure_takes_again_what_is_his_own(jobs: ProviderJobs) -> None:
    jobs.take(["a"], "01W")
    jobs.take(["b"], "01B")
    assert jobs.take(["a", "b", "c"], "01W", {"a", "b", "c"}) == Taken({"a", "c"}, {"b"})
    assert jobs.take(["a", "b"], "01B", {"a"}) == Taken(set(), {"a", "b"})


def test_old_ones_are_swept(jobs: ProviderJobs, any_engine: Engine, database: AccountingDatabase) -> None:
    now = datetime.now(UTC)
    old, young = now - JOBS_KEPT - timedelta(hours=1), now - JOBS_KEPT + timedelta(hours=1)
    for name, at in (("old", old), ("young", young)):
        jobs.register(replace(JOB, name=name, admitted_at=at.timestamp()))
        jobs.take([name], "01W")
        moment = at.replace(tzinfo=None).isoformat(" ")
        with any_engine.begin() as connection:
            connection.execute(
                text("update job_bookings set taken_at = :at where id = :id"), {"at": moment, "id": name}
            )
    assert database.sweep() == 2
    assert jobs.find("org_1", "openai", "old") is None
    assert jobs.find("org_1", "openai", "young") is not None
    assert jobs.take(["old", "young"], "01W").mine == {"old"}


def test_the_ledger_takes_a_result_once_though_two_journals_tell_of_it(ledger: Ledger, any_engine: Engine) -> None:
    """A second guard: `take` lets it not come to this."""
    twice = [ended(1), ended(2, id="req_00000001")]
    assert ledger.post_lines([(end.attempt, end.settlement) for end in twice if end.settlement is not None]) == 1
    with any_engine.connect() as connection:
        assert connection.scalar(text("select count(*) from usage_records")) == 1

"""Jobs at providers that are billed later, in SQL: whose they are, and who books their results.

A result is booked in the journal of the worker that sees it pass by, like any attempt. Several may see the same one:
the same batch fetched twice, or by two workers at once. So it is taken first, here, by the id of its future row. Who
dies before it is in the journal has taken it for nothing: once that journal is closed, all that it tells is in the
ledger, so whatever it took and is not there may be taken again. Until then nobody can tell, and who wants to hand the
result over has to wait.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Engine, Row, bindparam, delete, insert, or_, select, update

from proxyd.accounting.ledger_rows import told_model
from shared.models import JobBooking, JournalState, ProviderJob, UsageRecord

JOBS_KEPT = timedelta(days=90)  # results are kept for a month by all three providers, if nobody asks for more

_JOB = select(ProviderJob.__table__).where(
    ProviderJob.org_id == bindparam("org_id"), ProviderJob.provider == bindparam("provider")
)
_BY_NAME = _JOB.where(ProviderJob.job == bindparam("name"))
_BY_RESULTS = _JOB.where(ProviderJob.results == bindparam("name"))
_OPEN = _JOB.where(ProviderJob.results.is_(None), ProviderJob.batch).limit(1)
# All ids as one value, as in `ledger`. In order, so that two who take the same ones do not wait for each other.
_TAKE_SQLITE = (
    "insert into job_bookings (id, worker_id, taken_at, written) select value, ?, ?, false from json_each(?) where true"
    " on conflict do nothing returning id"
)
_TAKE_POSTGRESQL = (
    "insert into job_bookings (id, worker_id, taken_at, written)"
    " select given.id, %s, %s, false from unnest(%s::text[]) as given(id)"
    " on conflict do nothing returning id"
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job, and what its results are booked with."""

    org_id: str
    provider: str
    name: str  # the provider's
    key_id: str
    endpoint: str  # that it was begun at
    works_as: str | None  # the endpoint whose answers its results are; None: nobody can read them
    model: str | None  # that was asked for, if one was
    batch: bool  # billed by the prices of batches
    day: int  # of admission, in the organisation's time zone; an ordinal
    admitted_at: float  # Unix seconds
    client_ip: str | None
    label: str | None = None  # the client's own of the request that began it
    credential_id: str | None = None  # that it was begun with; others may be of an account that does not know it


class ResultsFile(NamedTuple):
    """The file in which the results of a job come."""

    name: str
    model: str | None = None  # that made the results


class Taken(NamedTuple):
    """What became of results that somebody wanted to book. Those that are in neither are booked, or as good as that."""

    mine: set[str]
    undecided: set[str]  # taken by somebody who has not written them yet, and may have died


class ProviderJobs:
    """Blocking: call it from a native thread. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._take = _TAKE_SQLITE if engine.dialect.name == "sqlite" else _TAKE_POSTGRESQL

    def register(self, job: Job) -> None:
        """Note whose job it is; a second time does nothing."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if self._find(connection, _BY_NAME, job.org_id, job.provider, job.name) is None:
                connection.execute(
                    insert(ProviderJob).values(
                        org_id=job.org_id,
                        provider=job.provider,
                        job=job.name,
                        key_id=job.key_id,
                        endpoint=job.endpoint,
                        works_as=job.works_as,
                        model=told_model(job.model),
                        batch=job.batch,
                        day=date.fromordinal(job.day),
                        admitted_at=datetime.fromtimestamp(job.admitted_at, UTC),
                        client_ip=job.client_ip,
                        label=job.label,
                        credential_id=job.credential_id,
                    )
                )

    def learn(self, org_id: str, provider: str, results: Mapping[str, ResultsFile]) -> None:
        """Note in which files the results of jobs come, by the names of the jobs. Those that are not known are left.

        A model that was told when a job began stays.
        """
        names = sorted(results)
        wanted = _JOB.where(ProviderJob.job.in_(names))
        with self._engine.connect() as connection:
            rows = connection.execute(wanted, {"org_id": org_id, "provider": provider}).all()
        new = {
            row.job: {"results": file, "model": row.model or told_model(model)}
            for row in rows
            for file, model in (results[row.job],)
            if row.results != file or (model is not None and row.model is None)
        }
        if not new:
            return
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            for name, values in new.items():
                here = (ProviderJob.org_id == org_id, ProviderJob.provider == provider, ProviderJob.job == name)
                connection.execute(update(ProviderJob).where(*here).values(values))

    def find(self, org_id: str, provider: str, name: str) -> Job | None:
        """The job of this name, if it was begun here."""
        with self._engine.connect() as connection:
            return self._find(connection, _BY_NAME, org_id, provider, name)

    def find_by_results(self, org_id: str, provider: str, name: str) -> Job | None:
        """The job whose results come in the file of this name."""
        with self._engine.connect() as connection:
            return self._find(connection, _BY_RESULTS, org_id, provider, name)

    def has_open_batches(self, org_id: str, provider: str) -> bool:
        """Whether there are batches of which nobody has told yet in which file their results come."""
        with self._engine.connect() as connection:
            return connection.execute(_OPEN, {"org_id": org_id, "provider": provider}).first() is not None

    @staticmethod
    def _find(connection: Connection, query: Any, org_id: str, provider: str, name: str) -> Job | None:
        row = connection.execute(query, {"org_id": org_id, "provider": provider, "name": name}).first()
        return None if row is None else _job(row)

    def take(self, ids: Collection[str], worker_id: str, again: Collection[str] = ()) -> Taken:
        """Take results upon oneself, to be booked in the journal of `worker_id`.

        `again` are some of which this worker does not know whether it has taken them: nobody else books what it took.
        """
        with self._engine.connect() as connection:
            free = set(ids) - self._booked(connection, ids)
        if not free:
            return Taken(set(), set())  # as whenever something is fetched again: nobody has to wait for a lock
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            at = datetime.now(UTC)
            taken = self._take_free(connection, free, worker_id, at)
            if rest := free - taken:
                taken |= self._take_over(connection, rest, worker_id, at, rest.intersection(again))
                rest -= taken
            open_ = select(JobBooking.id).where(JobBooking.id.in_(rest), JobBooking.written.is_(False))
            return Taken(taken, set(connection.scalars(open_)) if rest else set())

    def wrote(self, ids: Collection[str], worker_id: str) -> None:
        """What this worker has taken of these stands in its journal now."""
        mine = (JobBooking.id.in_(ids), JobBooking.worker_id == worker_id)
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(update(JobBooking).where(*mine).values(written=True))

    def _take_free(self, connection: Connection, ids: set[str], worker_id: str, at: datetime) -> set[str]:
        in_order = sorted(ids)
        if self._take is _TAKE_SQLITE:
            moment = at.strftime("%Y-%m-%d %H:%M:%S.%f")  # as SQLAlchemy writes one there
            rows = connection.exec_driver_sql(self._take, (worker_id, moment, orjson.dumps(in_order).decode()))
        else:
            rows = connection.exec_driver_sql(self._take, (worker_id, at, in_order))
        return {row[0] for row in rows}

    def _take_over(
        self, connection: Connection, ids: set[str], worker_id: str, at: datetime, again: set[str]
    ) -> set[str]:
        """Take what was left undone by workers whose journals have told all that they ever will."""
        dead = or_(
            JournalState.worker_id.is_(None),  # closed so long ago that it was swept
            JournalState.closed_at.is_not(None),
            JournalState.imported_at.is_not(None),
        )
        left = (
            select(JobBooking.id, JobBooking.worker_id)
            .outerjoin(JournalState, JournalState.worker_id == JobBooking.worker_id)
            .where(JobBooking.id.in_(ids), or_(dead, JobBooking.id.in_(again)))
        )
        owners = {row.id: row.worker_id for row in connection.execute(left)}
        # The ledger is asked after the journals: what one of them told before it was closed is there by now.
        booked = self._booked(connection, owners)
        taken = set()
        for id_, owner in sorted(owners.items()):
            if id_ in booked or (id_ in again and owner != worker_id):
                continue
            here = (JobBooking.id == id_, JobBooking.worker_id == owner)
            mine = {"worker_id": worker_id, "taken_at": at, "written": False}
            if connection.execute(update(JobBooking).where(*here).values(mine)).rowcount:
                taken.add(id_)
        return taken

    @staticmethod
    def _booked(connection: Connection, ids: Collection[str]) -> set[str]:
        if not ids:
            return set()
        return set(connection.scalars(select(UsageRecord.id).where(UsageRecord.id.in_(ids))))


def forget_old_jobs(connection: Connection, at_most: int) -> int:
    """Forget jobs that no provider keeps the results of any more, and who booked them; some of each, in one go.

    Answers with how many. Raises SQLAlchemyError.
    """
    long_ago = datetime.now(UTC) - JOBS_KEPT
    old = select(ProviderJob.org_id, ProviderJob.provider, ProviderJob.job).where(ProviderJob.admitted_at < long_ago)
    jobs = connection.execute(old.limit(at_most)).all()
    for org_id, provider, job in jobs:
        here = (ProviderJob.org_id == org_id, ProviderJob.provider == provider, ProviderJob.job == job)
        connection.execute(delete(ProviderJob).where(*here))
    ids = connection.scalars(select(JobBooking.id).where(JobBooking.taken_at < long_ago).limit(at_most)).all()
    connection.execute(delete(JobBooking).where(JobBooking.id.in_(ids)))
    return len(jobs) + len(ids)


def _job(row: Row[Any]) -> Job:
    return Job(
        row.org_id,
        row.provider,
        row.job,
        row.key_id,
        row.endpoint,
        row.works_as,
        row.model,
        row.batch,
        row.day.toordinal(),
        row.admitted_at.timestamp(),
        row.client_ip,
        row.label,
        row.credential_id,
    )

"""What workers and ledger writers agree on in SQL: the generation, its cut, which journals there are, what keys cost.

The generation is raised in one transaction that copies every open journal's last posted END: the cut. A key's total at
the cut is its `base_nanos` if it was posted to since, else its `total_nanos`. Counters of that generation are seeded
from these, and everything above the cut is brought by the workers themselves.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, bindparam, delete, insert, select, update

from proxyd.accounting.journal_reader import Position
from proxyd.accounting.limited_models import posted_hold, read_model_limits
from proxyd.accounting.records import LedgerUnavailable
from proxyd.accounting.sweeping import sweep
from shared.counters import Hold, Seed
from shared.machines import database_now, live_machines
from shared.model_limits import ModelLimits
from shared.models import (
    AccountingState,
    JournalState,
    Machine,
    Organization,
    PolicyOutbox,
    PostedHolds,
    ProxyKey,
)
from shared.seeds import cut_organizations, read_seeds

_CHUNK = 500

# Asked again and again: a statement that is made once is found compiled at once.
_GENERATION = select(AccountingState.generation)
_GENERATIONS = select(AccountingState.generation, AccountingState.outdated, AccountingState.outdated_for_models)
_STATE = select(AccountingState.generation, AccountingState.model_limits)
_MODEL_LIMITS = select(AccountingState.model_limits)
_JOURNALS = select(
    JournalState.worker_id,
    JournalState.machine,
    JournalState.segment,
    JournalState.position,
    JournalState.end_number,
    JournalState.cut_end_number,
    JournalState.imported_at,
    JournalState.closed_at,
)
_OPEN_JOURNALS = _JOURNALS.where(JournalState.closed_at.is_(None), JournalState.machine == bindparam("machine"))
_OUTBOX = select(PolicyOutbox.id, PolicyOutbox.subject).limit(_CHUNK)


class CutJournal(NamedTuple):
    """A journal that was open when a generation was cut."""

    worker_id: str
    machine: str
    end_number: int  # of the last END that the ledger has


class Cut(NamedTuple):
    """A new generation, and who has to join it."""

    generation: int
    journals: Sequence[CutJournal]
    organizations: Sequence[str]  # that have limits; what each had cost then stands written
    model_limits: bool  # some key has, or had, a limit for models


class JournalImported(LedgerUnavailable):
    """A copy of this worker's journal was imported: nobody admits in its name any more."""


@dataclass(frozen=True, slots=True)
class KnownJournal:
    """A journal as the database has it."""

    worker_id: str
    machine: str
    imported: Position
    cut_end_number: int
    from_copy: bool  # a copy of it was imported, because its machine was given up
    closed: bool


class AccountingDatabase:
    """Blocking: call it from a native thread. Raises SQLAlchemyError; then nothing was written."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generation(self) -> int:
        """The present one; 0 before the first start."""
        with self._engine.connect() as connection:
            return connection.scalar(_GENERATION) or 0

    def generations(self) -> tuple[int, int, int]:
        """The present one; the latest whose counters lack something that was posted; that lack a limit for models."""
        with self._engine.connect() as connection:
            row = connection.execute(_GENERATIONS).first()
        return (0, 0, 0) if row is None else (row.generation, row.outdated, row.outdated_for_models)

    def has_model_limits(self) -> bool:
        """Whether any key has, or had, a limit for models."""
        with self._engine.connect() as connection:
            return bool(connection.scalar(_MODEL_LIMITS))

    def installation(self) -> int:
        """The number by which this database's router is told from others; 0 if it has none."""
        with self._engine.connect() as connection:
            return connection.scalar(select(AccountingState.installation)) or 0

    def raise_generation(self, above: int, known: int | None = None) -> Cut | None:
        """Cut: a new generation, above `above` as well. None, and nothing is done, if the present one is not `known`.

        The journals are those that were open at that moment, of every machine: what one of them brings from then on is
        in no sum of the ledger, also if it is closed before the counters are made.
        """
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            state = connection.execute(_STATE.with_for_update()).first()
            present, model_limits = (0, False) if state is None else (state.generation, state.model_limits)
            if known not in (None, present):
                return None
            generation = max(present, above) + 1
            connection.execute(update(AccountingState).values(generation=generation))
            waited_for = (JournalState.closed_at.is_(None), JournalState.imported_at.is_(None))
            connection.execute(update(JournalState).where(*waited_for).values(cut_end_number=JournalState.end_number))
            rows = connection.execute(
                select(JournalState.worker_id, JournalState.machine, JournalState.cut_end_number).where(*waited_for)
            ).all()
            organizations = cut_organizations(connection, generation)
            return Cut(generation, [CutJournal(*row) for row in rows], organizations, model_limits)

    def open_journals(self, machine: str) -> list[KnownJournal]:
        """All of a machine that are not closed."""
        with self._engine.connect() as connection:
            return [_known(row) for row in connection.execute(_OPEN_JOURNALS, {"machine": machine})]

    def journals(self, worker_ids: Sequence[str]) -> dict[str, KnownJournal]:
        """Those of these workers that are known, closed ones too."""
        with self._engine.connect() as connection:
            rows = connection.execute(_JOURNALS.where(JournalState.worker_id.in_(worker_ids)))
            return {row.worker_id: _known(row) for row in rows}

    def enter(self, worker_id: str, machine: str) -> int:
        """As `register`, for a worker that wants to admit. Raises JournalImported when it may not any more."""
        generation = self.register(worker_id, machine)
        if self.journals([worker_id])[worker_id].from_copy:
            raise JournalImported(f"the journal of worker {worker_id} was imported from a copy")
        return generation

    def register(self, worker_id: str, machine: str) -> int:
        """Enter a worker's journal, once; answers with the generation it may register in."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            generation = connection.scalar(select(AccountingState.generation).with_for_update(read=True)) or 0
            known = connection.scalar(select(JournalState.worker_id).where(JournalState.worker_id == worker_id))
            if known is None:
                connection.execute(
                    insert(JournalState).values(
                        worker_id=worker_id,
                        machine=machine,
                        generation=generation,
                        segment=1,
                        position=0,
                        end_number=0,
                        cut_end_number=0,
                        registered_at=datetime.now(UTC),
                    )
                )
        return generation

    def closed(self, worker_ids: Collection[str]) -> set[str]:
        """Which of these are known to be closed."""
        wanted = list(worker_ids)
        found: set[str] = set()
        with self._engine.connect() as connection:
            for first in range(0, len(wanted), _CHUNK):
                query = select(JournalState.worker_id).where(
                    JournalState.worker_id.in_(wanted[first : first + _CHUNK]), JournalState.closed_at.is_not(None)
                )
                found.update(connection.scalars(query))
        return found

    def close(self, worker_id: str) -> None:
        """Everything of this journal is in the ledger and in the counters."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(
                update(JournalState).where(JournalState.worker_id == worker_id).values(closed_at=datetime.now(UTC))
            )
            connection.execute(delete(PostedHolds).where(PostedHolds.worker_id == worker_id))

    def now(self, connection: Connection) -> datetime:
        return database_now(connection)

    def post_heartbeat(self, machine: str, generation: int | None, holds: Mapping[str, Sequence[Hold]]) -> None:
        """Tell what these workers of a machine hold now, and that it is there.

        `generation` is that of the counters it goes by; None if it does not reach them, and so is not there for others.
        """
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            if generation is not None:
                told = {"generation": generation, "posted_at": self.now(connection)}
                here = Machine.machine == machine
                if not connection.execute(update(Machine).where(here).values(told)).rowcount:
                    connection.execute(insert(Machine).values(machine=machine, **told))
            for worker_id, held in holds.items():
                values = {"holds": [list(one if one.rows else one[:5]) for one in held]}
                here = PostedHolds.worker_id == worker_id
                if not connection.execute(update(PostedHolds).where(here).values(values)).rowcount:
                    connection.execute(insert(PostedHolds).values(worker_id=worker_id, **values))

    def posted_holds(self, worker_ids: Sequence[str]) -> dict[str, list[Hold]]:
        """What these workers held when their machines told it last."""
        query = select(PostedHolds.worker_id, PostedHolds.holds).where(PostedHolds.worker_id.in_(worker_ids))
        with self._engine.connect() as connection:
            return {worker_id: [posted_hold(*one) for one in holds] for worker_id, holds in connection.execute(query)}

    def machines_of(self, worker_ids: Sequence[str]) -> dict[str, str]:
        """On which machine each of these workers is, or was."""
        query = select(JournalState.worker_id, JournalState.machine).where(JournalState.worker_id.in_(worker_ids))
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def workers_elsewhere(self, machine: str) -> dict[str, str]:
        """The workers of other machines whose journals are open, and which machine each is on."""
        query = select(JournalState.worker_id, JournalState.machine).where(
            JournalState.closed_at.is_(None), JournalState.imported_at.is_(None), JournalState.machine != machine
        )
        with self._engine.connect() as connection:
            return dict(connection.execute(query).all())

    def limits_requests_at_once(self) -> bool:
        """Whether any key does."""
        limited = select(ProxyKey.id).where(ProxyKey.max_concurrent_requests.is_not(None)).limit(1)
        with self._engine.connect() as connection:
            return connection.scalar(limited) is not None

    def live_machines(self) -> dict[str, int]:
        """The machines that are there, each with the generation that it goes by; see `shared.machines`."""
        with self._engine.connect() as connection:
            return live_machines(connection, self.now(connection))

    def seeds(self, key_ids: Sequence[str], generation: int, today: int) -> list[Seed] | None:
        """What these keys, or organisations, had cost at the cut of a generation; None if it is not the present one."""
        with self._engine.connect() as connection:
            found = read_seeds(connection, key_ids, generation, today)
        return None if found is None else list(found.values())

    def model_limits(self, key_ids: Collection[str]) -> dict[str, ModelLimits]:
        with self._engine.connect() as connection:
            return read_model_limits(connection, key_ids)

    def outbox(self) -> tuple[list[int], dict[str, int], dict[str, int]]:
        """Edits the counters may not know: their numbers, and the present versions of keys and organisations."""
        with self._engine.connect() as connection:
            entries = connection.execute(_OUTBOX).all()
            if not entries:
                return [], {}, {}
            subjects = {subject for _, subject in entries}
            keys = connection.execute(select(ProxyKey.id, ProxyKey.version).where(ProxyKey.id.in_(subjects)))
            versions = dict(keys.all())
            orgs = connection.execute(
                select(Organization.id, Organization.policy_version).where(Organization.id.in_(subjects))
            )
            shared = dict(orgs.all())
        numbers = [number for number, _ in entries]
        return numbers, versions, shared

    def sweep(self) -> int:
        """Delete some of what nobody asks for any more; answers with how much, so that more can be done soon."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            return sweep(connection, self.now(connection))

    def clear_outbox(self, numbers: Sequence[int]) -> None:
        """These are told."""
        with self._engine.connect().execution_options(writes=True) as connection, connection.begin():
            connection.execute(delete(PolicyOutbox).where(PolicyOutbox.id.in_(numbers)))


def _known(row: Row[*tuple[Any, ...]]) -> KnownJournal:
    return KnownJournal(
        row.worker_id,
        row.machine,
        Position(row.segment, row.position, row.end_number),
        row.cut_end_number,
        from_copy=row.imported_at is not None,
        closed=row.closed_at is not None,
    )

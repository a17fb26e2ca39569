"""How attempts end, on their way from the journal to the counters.

An END is written at once. What was written waits here to ride with the next batch; what the journal could not take
waits here to be written, and its attempt stays open until then.
"""

import logging
from collections.abc import Callable

from proxyd.accounting.journal import Journal, JournalUnavailable
from proxyd.accounting.membership import Joined
from proxyd.accounting.pending_admission import PendingAdmission
from proxyd.accounting.records import EndRecord, Settlement
from shared.counters import Admitted, Charge, End, TokenChange
from shared.model_limits import rows_of

log = logging.getLogger(__name__)


class EndQueue:
    """The ends of one worker that wait. `on_first` is called when one has come and none waited before."""

    def __init__(self, on_tokens: Callable[[End], None]) -> None:
        """`on_tokens` hears of each that was written, if it changes what is counted of tokens."""
        self._on_tokens = on_tokens
        self.pending: list[End] = []  # written, and not yet told to the counters
        self.on_first: Callable[[], None] = _nothing
        self._unwritten: dict[int, Settlement | None] = {}
        self.rows: dict[int, tuple[str, ...]] = {}  # of limits for models, of attempts that count against any; by seq
        self.counts_models = False  # any did since this worker began

    def write(self, journal: Journal | None, seq: int, settlement: Settlement | None) -> bool:
        """Write the END of an attempt, the first one of it only; False: the journal could not take it now."""
        if journal is None or seq not in journal.open or seq in self._unwritten:
            return True
        try:
            record = journal.end(seq, settlement)
        except JournalUnavailable as error:
            log.warning("the journal cannot be written; an end is kept in memory: %s", error)
            self._unwritten[seq] = settlement
            return False
        self._written(record)
        return True

    def write_unwritten(self, journal: Journal | None) -> None:
        """Try again what the journal could not take, as far as it goes."""
        if journal is None:
            return
        for seq, settlement in list(self._unwritten.items()):
            try:
                record = journal.end(seq, settlement)
            except JournalUnavailable:
                return
            del self._unwritten[seq]
            self._written(record)

    def begun(self, admission: PendingAdmission) -> None:
        """It counts against limits for models until it has ended, if it was admitted by any."""
        charge = admission.charge
        if charge is not None and charge.model_limits and isinstance(admission.decision, Admitted):
            self.count_on(admission.seq, rows_of(charge.model_limits))

    def count_on(self, seq: int, rows: tuple[str, ...]) -> None:
        """An attempt that was begun counts on these rows of limits for models until it has ended."""
        self.rows[seq] = rows
        self.counts_models = True

    def release(self, charge: Charge, admitted: Admitted) -> None:
        """Take back the hold of a request that was charged and never begun."""
        end = End(0, charge.key_id, admitted.day, charge.bound_nanos, 0, admitted.second, 1, charge.org_id)
        if charge.model_limits:
            end = end._replace(rows=rows_of(charge.model_limits))
        if charge.bound_tokens:
            end = end._replace(tokens=TokenChange(admitted.second, -charge.bound_tokens))
        self._add(end)

    def take(self) -> list[End]:
        """All that wait, for a batch; `requeue` when it fails."""
        ends, self.pending = self.pending, []
        return ends

    def requeue(self, ends: list[End]) -> None:
        self.pending = ends + self.pending
        if ends:
            self.on_first()

    def acknowledge(self, count: int) -> None:
        """The first `count` were part of a batch that was applied after all."""
        del self.pending[:count]

    def joined(self, joined: Joined) -> None:
        """New counters know all up to an END, and hold nothing for what was never begun.

        What they do not know yet counts on the rows that it has in these.
        """
        self.rows = joined.rows
        self.pending = [
            end._replace(rows=joined.rows_of_ended.get(end.number, ()))
            for end in self.pending
            if end.number > joined.end_number
        ]

    def _written(self, record: EndRecord) -> None:
        end = record.for_counters(self.rows.pop(record.seq, ()) if self.rows else ())
        if end.tokens is not None:
            self._on_tokens(end)
        self._add(end)

    def _add(self, end: End) -> None:
        pending = self.pending
        pending.append(end)
        if len(pending) == 1:
            self.on_first()


def _nothing() -> None:
    """Nobody has to be told."""

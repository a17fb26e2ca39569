"""Keeping the books of a worker: journal, counters and ledger move together, and each attempt ends exactly once.

An attempt is BEGIN in the journal and a hold in the counters before it is sent. At its end the journal gets SETTLE,
the counters replace the hold by the true cost, and a line waits in memory until the flusher has put it into the
ledger; then the journal forgets it. Whatever fails on that way is tried again by the flusher, and every step may be
repeated without effect, so a crash anywhere leaves work for `recover`, never a loss or a second count.
"""

import logging
import time
from collections.abc import Callable
from datetime import date

from gevent.lock import RLock
from sqlalchemy.exc import SQLAlchemyError

from proxyd.accounting.entries import Ending, Opening, post_of, settled
from proxyd.accounting.group_commit import GroupCommit
from proxyd.accounting.journal import Attempt, Journal, JournalUnavailable, Orphan, Settlement, claim_orphans
from proxyd.accounting.ledger import Ledger, Line
from proxyd.offload import Offload
from shared.counters import Admission, Admitted, Charge, Counters, CountersUnavailable, Post

log = logging.getLogger(__name__)

BATCH = 1_000
RENEW_SECONDS = 30.0
LEASE_SECONDS = 300
MAX_LOOKS = 5  # at a ledger that other workers write to; one look too few counts an attempt twice, never not at all


class Accounting:
    """The books of one worker. All methods run on the event loop's thread; only ledger work is offloaded.

    What begins and what ends at the same moment shares one transaction of the journal and one of the counters
    (`GroupCommit`).
    """

    def __init__(
        self,
        journal: Journal,
        counters: Counters,
        ledger: Ledger,
        offload: Offload,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.journal = journal
        self._counters = counters
        self._ledger = ledger
        self._offload = offload
        self._monotonic = monotonic
        self._open: dict[int, Attempt] = {}  # begun, not ended: re-registered when the counters are lost
        self._lines: dict[int, Line] = {}  # ended, not yet in the ledger
        self._unposted: list[Post] = []  # ends that the counters have not heard of
        self._unwritten: list[tuple[int, Settlement]] = []  # ends that the journal could not take
        self._turns: GroupCommit[Opening | Ending] = GroupCommit(self._turn)
        self._renewed_at = float("-inf")
        self._generation = ""  # of the counters that know our holds
        self._journal_failed = False  # at its last write
        # Ledger work waits for a thread meanwhile; nobody else may begin the same work. Settling never takes it.
        self._one_at_a_time = RLock()

    def open(self, seq: int, charge: Charge, attempt_of: Callable[[Admitted], Attempt]) -> Admission:
        """Charge a request and, if it is admitted, write BEGIN before a byte of it is sent.

        Raises CountersUnavailable, or JournalUnavailable; then nothing is held and nothing is open.
        """
        errand = Opening(seq, charge, attempt_of)
        self._turns.take(errand, alone=not self._open)
        assert errand.result is not None  # noqa: S101 - an errand that was done has a result or raised
        return errand.result

    def begin(self, seq: int, attempt: Attempt) -> None:
        """Open an attempt that is not charged. Raises JournalUnavailable; then nothing is open."""
        self.journal.begin({seq: attempt})
        self._open[seq] = attempt

    def void(self, seq: int) -> None:
        """Close an attempt of which nothing reached the provider: no row, no cost, no hold."""
        attempt = self._open.pop(seq)
        self._tell_counters(post_of(attempt, None))
        try:
            self.journal.void(seq)
        except JournalUnavailable as error:
            log.warning("an attempt that was never sent stays in the journal: %s", error)

    def settle(self, seq: int, settlement: Settlement) -> None:
        """Close an attempt at its true cost. Never fails: what cannot be written now waits for the flusher."""
        attempt = self._open.get(seq)
        if attempt is not None:
            self._turns.take(Ending(seq, attempt, settlement), alone=len(self._open) == 1)

    @property
    def depth(self) -> int:
        """Ended attempts that are not in the ledger yet."""
        return len(self._lines)

    def flush(self) -> int:
        """Put ended attempts into the ledger, a batch at a time. Returns how many lines it moved.

        Raises SQLAlchemyError when the database does not answer; the lines stay.
        """
        moved = 0
        with self._one_at_a_time:
            self._catch_up()
            while self._lines:
                batch = dict(list(self._lines.items())[:BATCH])
                self._offload(self._ledger.post, list(batch.values()))
                try:
                    self.journal.forget(list(batch))
                except JournalUnavailable as error:
                    log.warning("lines are in the ledger, but the journal cannot forget them yet: %s", error)
                for seq in batch:
                    del self._lines[seq]
                moved += len(batch)
        return moved

    def keep_alive(self) -> None:
        """Notice counters that were lost, renew the lease of this worker's holds, let those of dead workers lapse.

        Raises CountersUnavailable or SQLAlchemyError. Call it every second; what is not due costs nothing.
        """
        if self._counters.generation() != self._generation:
            self.seed()
        if self._monotonic() - self._renewed_at >= RENEW_SECONDS:
            self._counters.renew(self.journal.worker_id, LEASE_SECONDS)
            self._counters.lapse()
            self._renewed_at = self._monotonic()

    def seed(self) -> None:
        """Fill counters that were lost (or are new) from the ledger, then hold again what is in flight here.

        Raises CountersUnavailable or SQLAlchemyError.
        """
        with self._one_at_a_time:
            self.flush()
            generation = self._counters.generation()
            if not self._counters.is_seeded():
                self._seed_from_ledger(generation)
            for attempt in list(self._open.values()):
                day = date.fromisoformat(attempt.day)
                self._counters.hold_again(attempt.id, self.journal.worker_id, attempt.key_id, day, attempt.bound_nanos)
            self._generation = generation

    def _seed_from_ledger(self, generation: str) -> None:
        """Take the sums over. What was settled since the loss counts once: in the sums, or beside them."""
        early = self._counters.posted_unseeded()
        for _ in range(MAX_LOOKS):
            totals, ledgered = self._offload(self._ledger.totals, early)
            now_early = self._counters.posted_unseeded()
            if now_early == early:
                break
            early = now_early
        if self._counters.seed(generation, totals, ledgered=ledgered):
            log.info("counters seeded from the ledger: %d sums", len(totals))

    def recover(self) -> int:
        """Settle and import the journals of workers that died. Returns how many attempts were brought home.

        Raises SQLAlchemyError or CountersUnavailable; what was not finished is found again the next time.
        """
        with self._one_at_a_time:
            return sum(self._bring_home(orphan) for orphan in claim_orphans(self.journal.directory))

    def _bring_home(self, orphan: Orphan) -> int:
        lines = [settled(entry) for entry in orphan.entries()]
        for start in range(0, len(lines), BATCH):
            batch = lines[start : start + BATCH]
            self._offload(self._ledger.post, batch)
            self._counters.turn([post_of(attempt, settlement.cost_nanos) for attempt, settlement in batch], [])
        orphan.remove()
        if lines:
            log.warning("worker %s had died; %d of its attempts are now in the ledger", orphan.worker_id, len(lines))
        return len(lines)

    def close(self) -> None:
        """Flush all and remove the journal; what cannot be flushed stays in the file for the next process."""
        clean = False
        try:
            self.flush()
            clean = not (self._lines or self._open or self._unposted)
        except SQLAlchemyError as error:
            log.error("the last flush failed; the journal keeps %d attempts: %s", self.depth, error)
        self.journal.close(remove=clean)

    def _turn(self, errands: list[Opening | Ending]) -> None:
        """Journal the ends, tell the counters of everything, journal the beginnings.

        A crash between two of these steps leaves an attempt that will be settled again to the same effect, or a hold
        without an attempt, which lapses.
        """
        endings = {errand.seq: errand for errand in errands if isinstance(errand, Ending) and errand.seq in self._open}
        openings = self._journalable([errand for errand in errands if isinstance(errand, Opening)])
        if endings:
            self._journal_ends(endings)
        posts = [post_of(ending.attempt, ending.settlement.cost_nanos) for ending in endings.values()]
        try:
            results = self._counters.turn(posts, [opening.charge for opening in openings])
        except Exception as error:
            if not isinstance(error, CountersUnavailable):
                log.exception("a turn of the counters failed")
            self._unposted.extend(posts)
            for opening in openings:
                opening.failure = error
            return
        for opening, result in zip(openings, results, strict=True):
            opening.result = result
        self._journal_beginnings([opening for opening in openings if isinstance(opening.result, Admitted)])

    def _journalable(self, openings: list[Opening]) -> list[Opening]:
        """The openings, or none while the journal cannot be written: what is bound to be refused is not charged.

        Only the turn that finds it out charges before it knows; it gives back what it held, but not its requests.
        """
        if not (openings and self._journal_failed):
            return openings
        try:
            self.journal.check()
        except JournalUnavailable as error:
            for opening in openings:
                opening.failure = error
            return []
        self._journal_failed = False
        return openings

    def _journal_ends(self, endings: dict[int, Ending]) -> None:
        try:
            self.journal.settle({seq: ending.settlement for seq, ending in endings.items()})
        except JournalUnavailable as error:
            log.warning("the journal cannot be written; keeping %d settlements in memory: %s", len(endings), error)
            self._journal_failed = True
            self._unwritten.extend((seq, ending.settlement) for seq, ending in endings.items())
        for seq, ending in endings.items():
            del self._open[seq]
            self._lines[seq] = (ending.attempt, ending.settlement)

    def _journal_beginnings(self, openings: list[Opening]) -> None:
        if not openings:
            return
        attempts = {
            opening.seq: opening.attempt_of(opening.result)
            for opening in openings
            if isinstance(opening.result, Admitted)
        }
        try:
            self.journal.begin(attempts)
        except JournalUnavailable as error:
            self._journal_failed = True
            for opening in openings:
                opening.failure = error
                self._tell_counters(post_of(attempts[opening.seq], None))
        else:
            self._open.update(attempts)

    def _tell_counters(self, post: Post) -> None:
        """Settle or release outside of a turn. What the counters cannot hear now is told by the flusher."""
        try:
            self._counters.turn([post], [])
        except CountersUnavailable as error:
            log.warning("the counters will hear of an ended attempt later: %s", error)
            self._unposted.append(post)

    def _catch_up(self) -> None:
        """Repeat what failed before. Stops at the first thing that still fails, to try again at the next flush."""
        try:
            if self._unwritten:
                self.journal.settle(dict(self._unwritten))
                self._unwritten.clear()
        except JournalUnavailable:
            pass  # the lines are in memory as well, so the ledger gets them either way
        waiting, self._unposted = self._unposted, []
        for post in waiting:
            self._tell_counters(post)

"""Letting the counters know what the ledger says of a key or an organisation, for requests that wait for it."""

from collections.abc import Callable

import gevent

from shared.counters import Charge, Counters, Seed, Unseeded
from shared.model_limits import rows_of

PAUSE_SECONDS = 0.01  # for whoever asks again

Seeds = Callable[[list[str], int, int], list[Seed] | None]  # keys, generation, today


class Seeding:
    """Of one worker. `seeds` asks the database and may raise LedgerUnavailable."""

    def __init__(self, counters: Counters, seeds: Seeds) -> None:
        self._counters = counters
        self._seeds = seeds
        self._asked = set[str]()

    def seed(self, unseeded: Unseeded, charge: Charge) -> None:
        """One greenlet asks for all that wait for it. Raises LedgerUnavailable, CountersUnavailable."""
        id_, generation = unseeded.row_id or charge.key_id, unseeded.generation
        if id_ in self._asked:
            gevent.sleep(PAUSE_SECONDS)
            return
        self._asked.add(id_)
        try:
            # If of a key it is not known, it mostly is of none of its limits for models either.
            ids = [id_] if id_ == charge.org_id else [charge.key_id, *rows_of(charge.model_limits)]
            seeds = self._seeds(ids, generation, self._counters.moment().day)
            if seeds is None:
                gevent.sleep(PAUSE_SECONDS)
            else:
                self._counters.seed(generation, seeds)
        finally:
            self._asked.discard(id_)

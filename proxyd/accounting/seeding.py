"""Letting the counters know what the ledger says of a key or an organisation, for requests that wait for it."""

from collections.abc import Callable

import gevent

from shared.counters import Counters, Seed

PAUSE_SECONDS = 0.01  # for whoever asks again

Seeds = Callable[[list[str], int, int], list[Seed] | None]  # keys, generation, today


class Seeding:
    """Of one worker. `seeds` asks the database and may raise LedgerUnavailable."""

    def __init__(self, counters: Counters, seeds: Seeds) -> None:
        self._counters = counters
        self._seeds = seeds
        self._asked = set[str]()

    def seed(self, id_: str, generation: int) -> None:
        """One greenlet asks for all that wait for it. Raises LedgerUnavailable, CountersUnavailable."""
        if id_ in self._asked:
            gevent.sleep(PAUSE_SECONDS)
            return
        self._asked.add(id_)
        try:
            seeds = self._seeds([id_], generation, self._counters.moment().day)
            if seeds is None:
                gevent.sleep(PAUSE_SECONDS)
            else:
                self._counters.seed(generation, seeds)
        finally:
            self._asked.discard(id_)

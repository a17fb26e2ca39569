"""A ledger writer that is killed between any two things that it does."""

from collections.abc import Callable
from typing import Any

from accounting_kit import HandClock

from proxyd.accounting.ledger_writer import LedgerWriter


class Killed(BaseException):
    """The process ends here."""


class Dying:
    """Stands before a part of the ledger writer and kills it before or after one of its calls."""

    def __init__(self, part: object, tick: Callable[[], None]) -> None:
        self._part = part
        self._tick = tick

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if name == "shared":
            return None if found is None else Dying(found, self._tick)
        if not callable(found):
            return found

        def call(*arguments: object, **named: object) -> object:
            self._tick()
            result = found(*arguments, **named)
            self._tick()
            return result

        return call


def die_between_calls(writer: LedgerWriter, clock: HandClock, after: int) -> None:
    """Start a ledger writer and let it do a round; it is killed at the moment `after`, of which each call has two."""
    left = after

    def tick() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            raise Killed

    both = ("_counters", "_database")
    parts = ((writer, both), (writer._generations, both), (writer._machines, both))
    for part, names in (*parts, (writer._importer, ("_database", "_ledger"))):
        for name in names:
            setattr(part, name, Dying(getattr(part, name), tick))
    try:
        writer.start()
        clock.mono_at += 1.0
        writer.round()
    except Killed:
        pass

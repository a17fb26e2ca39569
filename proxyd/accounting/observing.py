"""What the ledger writer tells of its work to whoever observes it: operators, by way of `proxyd.monitoring`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxyd.accounting.records import EndRecord
from proxyd.accounting.refusal_log import RefusalCount


class Observer(Protocol):
    """Hears of what has been added to the database, right after that. It must not raise, and not wait for anybody.

    Who is killed in between, or does not learn whether it was added, tells nobody: so nothing is told twice.
    """

    def on_ends(self, ends: Sequence[EndRecord]) -> None: ...

    def on_refusals(self, counts: Collection[RefusalCount]) -> None: ...


class Nobody:
    """Who observes a ledger writer that nobody wants to hear of."""

    def on_ends(self, ends: Sequence[EndRecord]) -> None: ...

    def on_refusals(self, counts: Collection[RefusalCount]) -> None: ...


@dataclass(frozen=True, slots=True)
class WriterStatus:
    """How things stood at the end of a round."""

    caught_up_at: float  # monotonic seconds: when the ledger had last all that the journals told
    imported: Mapping[str, int] = field(default_factory=dict)  # journal -> its last END that the ledger has
    counters_reachable: bool = False
    counters_live: bool = False
    generation: int = 0

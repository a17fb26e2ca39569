"""One way to tell operators what happens, as the ledger writer's process knows it."""

from collections.abc import Collection, Sequence

from proxyd.accounting.records import EndRecord
from proxyd.accounting.refusal_log import RefusalCount


class Part:
    """Called between the steps of the ledger writer, which must not wait for anybody here."""

    def on_ends(self, ends: Sequence[EndRecord]) -> None:
        """Hear of attempts that are in the ledger now."""

    def on_refusals(self, counts: Collection[RefusalCount]) -> None:
        """Hear of refusals of keys that are known, added up for a moment."""

    def keep(self) -> None:
        """Do what is due. Called some times a second."""

    def close(self) -> None:
        """Tell what is left; there will be no more."""

"""When new counters are made because a key got a limit for models that the present ones do not know all of.

Each time all limited keys wait for a moment. So whoever sets one limit after the other may not have that done all the
while: those that are set within some seconds share the next counters.
"""

MODELS_SECONDS = 10.0  # between two counters that are made for limits for models, by whomever


class ModelCuts:
    """As one ledger writer sees them, which looks at the database now and then."""

    def __init__(self) -> None:
        self._present = 0  # the generation in the database, and the latest there that lacks a limit, at the last look
        self._lacking = 0
        self._cut_at = float("-inf")

    def is_due(self, present: int, lacking: int, at: float) -> bool:
        """Whether new ones are to be made now. `lacking`: the latest generation that lacks one; `at` is monotonic."""
        if present != self._present:
            if 0 < self._present <= self._lacking:
                self._cut_at = at
            self._present = present
        self._lacking = lacking
        return lacking >= present and at - self._cut_at >= MODELS_SECONDS

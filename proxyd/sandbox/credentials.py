"""Credentials that are told by their own names to fail, always or some of the time."""

import re
from collections import Counter
from dataclasses import dataclass, field

from proxyd.sandbox.refusal import Refusal

NOTHING = "nothing"  # the connection is closed before the first byte of an answer
_TOLD = re.compile(r"sandbox-answers-(401|429|503|nothing)(?:-(\d{1,3})of(\d{1,3}))?-")


@dataclass(slots=True)
class FailingCredentials:
    """What each of them has to do next."""

    _asked: Counter[str] = field(default_factory=Counter)

    def hangs_up(self, credential: str) -> bool:
        """Whether its request gets no answer at all. Raises Refusal for one that gets an error."""
        told = _TOLD.match(credential)
        if told is None:
            return False
        failing, of = int(told[2] or 1), int(told[3] or 1)
        place = self._asked[credential] % max(of, 1)
        self._asked[credential] += 1
        if place >= failing:
            return False
        if told[1] == NOTHING:
            return True
        # Its own name is repeated, as some providers and gateways do.
        raise Refusal(int(told[1]), f"The credential {credential} was told to be answered with {told[1]}.")

"""What a worker has admitted in the last minute, which new counters will ask for. No I/O.

Each request is noted, and few are ever asked for: so noting one is an entry of a list, whatever key it carries. A
second in which keys came many times is counted once it is over.
"""

from collections import Counter

from proxyd.accounting.records import Attempt
from shared.counters import WINDOW_SECONDS, End, RateBucket

_WORTH_COUNTING = 12  # a key that was counted takes as much memory as so many requests that were noted


class RecentAdmissions:
    """Of one worker; by steady second, as rates count them."""

    def __init__(self) -> None:
        # second -> organisation -> ids of keys
        self._noted: dict[int, dict[str, list[str]]] = {}
        self._counted: dict[int, dict[str, Counter[str]]] = {}
        self._tokens: dict[int, dict[str, int]] = {}  # by key, of what is counted
        self._cleaned_up_at = 0  # the last steady second

    def record(self, attempt: Attempt) -> None:
        """One that no counter knows of is not noted."""
        second = attempt.second
        if second < 0:
            return
        organizations = self._noted.get(second)
        if organizations is None:
            organizations = self._noted[second] = {}
        keys = organizations.get(attempt.org_id)
        if keys is None:
            keys = organizations[attempt.org_id] = []
        keys.append(attempt.key_id)
        if attempt.held_tokens:
            tokens = self._tokens.setdefault(second, {})
            tokens[attempt.key_id] = tokens.get(attempt.key_id, 0) + attempt.held_tokens

    def record_end(self, end: End) -> None:
        """Put right what is kept of its tokens, if it still weighs."""
        if end.tokens is not None:
            kept = self._tokens.get(end.tokens.second, {})
            if end.key_id in kept:
                kept[end.key_id] += end.tokens.tokens

    def clean_up(self, now: int) -> None:
        """Forget what weighs nothing any more at a steady second, and count what was noted before it."""
        oldest = now - WINDOW_SECONDS
        for kept in (self._noted, self._counted, self._tokens):
            for second in [second for second in kept if second < oldest]:
                del kept[second]
        for second, organizations in self._noted.items():
            if self._cleaned_up_at <= second < now:  # each once: what is looked at holds up whoever waits
                self._count(second, organizations)
        self._cleaned_up_at = now

    def _count(self, second: int, organizations: dict[str, list[str]]) -> None:
        """Where it saves memory, and as often: one that was admitted in that second may still be noted."""
        for org_id, keys in organizations.items():
            if len(keys) >= _WORTH_COUNTING and len(set(keys)) * _WORTH_COUNTING <= len(keys):
                self._counted.setdefault(second, {}).setdefault(org_id, Counter()).update(keys)
                keys.clear()

    def buckets(self) -> list[RateBucket]:
        """All of it, one for each key and second."""
        found: list[RateBucket] = []
        for second, organizations in self._noted.items():
            tokens = self._tokens.get(second, {})
            counted = self._counted.get(second, {})
            for org_id, keys in organizations.items():
                requests = Counter(keys) + counted.get(org_id, Counter())
                found += [RateBucket(key, second, count, org_id, tokens.get(key, 0)) for key, count in requests.items()]
        return found

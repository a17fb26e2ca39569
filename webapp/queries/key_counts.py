"""How many keys there are that somebody should look at, and why: numbers of the Overview.

Each is the number that a list of just these keys tells, so that whoever follows it finds as many. It is counted up to
`COUNTED`. That may take long in a very large organisation, so a count that took long is kept for twenty times as long.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from time import monotonic
from typing import Literal

from flask import current_app

from webapp.queries.key_pages import count_up_to
from webapp.queries.keys import COUNTED
from webapp.schemas.lists import KeyQuery
from webapp.validation import read

Look = Literal["near_limit", "refused", "expiring", "dormant", "unlimited"]
# What each number counts, as the address of the list has it.
ASKED: Mapping[Look, Mapping[str, str]] = {
    "near_limit": {"near_limit": "true"},
    "refused": {"refused": "true"},
    "expiring": {"expiring": "true"},
    "dormant": {"dormant": "true"},
    "unlimited": {"has_limit": "false", "status": "active"},
}
_LONG_SECONDS, _KEPT_TIMES = 0.1, 20


@dataclass(frozen=True, slots=True)
class KeyCounts:
    """Of active keys, as of the moment `at`; one more than `COUNTED` stands for any number above it.

    As in the list, so it does where counting would take long.
    """

    numbers: Mapping[Look, int]
    at: datetime


def count_keys_to_look_at(org_id: str, at: datetime) -> KeyCounts:
    """Of an organisation, from now or from some seconds ago."""
    kept: dict[str, tuple[float, KeyCounts]] = current_app.extensions.setdefault("key_counts", {})
    began = monotonic()
    until, counts = kept.get(org_id, (0.0, None))
    if counts is not None and began < until:
        return counts
    numbers = {look: count_up_to(org_id, read(KeyQuery, asked), at, COUNTED + 1) for look, asked in ASKED.items()}
    counts = KeyCounts(numbers, at)
    took = monotonic() - began
    if took > _LONG_SECONDS:
        kept[org_id] = began + took * _KEPT_TIMES, counts
    return counts

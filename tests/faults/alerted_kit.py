"""What people have to be told of keys by the ledger, and what receivers were told: each thing once, and none left out."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import Message
from typing import Any

from harness import Router
from load_kit import Key
from receivers_kit import Received
from reckoning import Audit

from shared import money

THRESHOLDS = (50, 80, 100)
# From here on a refusal for the limit counts as its end (docs/alerts.md).
NEARLY_FULL_PERCENT = 95
_IN_A_MAIL = re.compile(
    r"^- The key “(?P<name>[^”]*)” \(\S+\) has reached (?P<percent>\d+) % of its spend limit", re.MULTILINE
)
Thing = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Due:
    """Thresholds of keys, each as the key's id and per cent."""

    must: frozenset[tuple[str, int]]
    may: frozenset[tuple[str, int]]  # whether it was refused for it is not always in the database: a worker died


def due(router: Router, keys: Sequence[Key]) -> Due:
    """By the sums of the ledger."""
    audit = Audit(router)
    try:
        totals = audit.totals(keys)
    finally:
        audit.close()
    must, may = set(), set()
    for key in keys:
        if key.limit_usd is None:
            continue
        percent = totals.get(key.id, 0) * 100 // money.from_usd(key.limit_usd)
        must |= {(key.id, one) for one in THRESHOLDS if percent >= one}
        if percent >= NEARLY_FULL_PERCENT:
            may.add((key.id, 100))
    return Due(frozenset(must), frozenset(may))


def told_by_webhook(received: Sequence[Received]) -> dict[Thing, set[str]]:
    """Each thing that happened with the ids of the messages that told of it: one of them, however often it came."""
    found: dict[Thing, set[str]] = defaultdict(set)
    for one in received:
        found[_thing_of(one.document)].add(one.headers["webhook-id"])
    return found


def _thing_of(document: dict[str, Any]) -> Thing:
    """The event, of what, and in which period."""
    event, data = document["type"], document["data"]
    if event == "key.spend_threshold":
        return event, data["key_id"], data["threshold_percent"], data["spend_limit_usd"], data["period_start"]
    if event == "provider.credential_refused":
        return event, data["provider"], data["label"], data["last_at"][:10]
    assert event == "organization.refusals", document
    return event, document["timestamp"][:13]


def told_by_mail(messages: Sequence[Message]) -> dict[tuple[str, int], set[str]]:
    """Thresholds, by the key's name and per cent, with the ids of the mails that told of them."""
    found: dict[tuple[str, int], set[str]] = defaultdict(set)
    for mail in messages:
        text = mail.get_content()  # type: ignore[attr-defined] # of this policy's messages
        for told in _IN_A_MAIL.finditer(text):
            found[told["name"], int(told["percent"])].add(mail["Message-ID"])
    return found

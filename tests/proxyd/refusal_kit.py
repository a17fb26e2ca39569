"""Refusals of one key, as the gateway notes them."""

from typing import Any

from ledger_kit import NOON

from proxyd.accounting.refusal_log import Refused
from shared.policy import Deny, KeySnapshot, Reason

KEY = KeySnapshot(
    "key_1", "org_1", "app", "sk-proxy-a1b2", False, None, False, frozenset(), (), (), None, None, "never"
)
PAUSED = Deny(Reason.KEY_PAUSED, {"prefix": KEY.prefix})


def refused(number: int = 1, deny: Deny = PAUSED, **fields: Any) -> Refused:
    told = {"at": NOON + number, "status": 403, "model": "gpt-4o", "client_ip": "203.0.113.7"}
    return Refused(deny=deny, request_id=f"req_{number}", **{**told, **fields})

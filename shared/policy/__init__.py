"""What a key may do: pure functions over frozen values, in the order of the contract."""

from shared.policy.reasons import TABLE, Reason, Rule
from shared.policy.rules import RULES, at_the_door, evaluate, matches_model
from shared.policy.values import Address, Allow, Ask, Charges, Deny, Fact, KeySnapshot, Network

__all__ = [
    "RULES",
    "TABLE",
    "Address",
    "Allow",
    "Ask",
    "Charges",
    "Deny",
    "Fact",
    "KeySnapshot",
    "Network",
    "Reason",
    "Rule",
    "at_the_door",
    "evaluate",
    "matches_model",
]

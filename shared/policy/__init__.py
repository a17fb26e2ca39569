"""What a key may do: pure functions over frozen values, in the order of the contract."""

from shared.policy.reasons import ERRORS, MAY_BE_BACK_SECONDS, PROVIDER_FAILURES, ErrorSpec, Reason
from shared.policy.rules import (
    MAX_MODEL_CHARACTERS,
    RULES,
    check_key,
    covers,
    evaluate,
    is_capped_for,
    limits_for,
    matches_model,
    refused_model,
)
from shared.policy.values import Address, Allow, Charges, Deny, Fact, KeySnapshot, Network, PolicyQuery, SpendBoost

__all__ = [
    "ERRORS",
    "MAX_MODEL_CHARACTERS",
    "MAY_BE_BACK_SECONDS",
    "PROVIDER_FAILURES",
    "RULES",
    "Address",
    "Allow",
    "Charges",
    "Deny",
    "ErrorSpec",
    "Fact",
    "KeySnapshot",
    "Network",
    "PolicyQuery",
    "Reason",
    "SpendBoost",
    "check_key",
    "covers",
    "evaluate",
    "is_capped_for",
    "limits_for",
    "matches_model",
    "refused_model",
]

"""Spend limits of a key for some models: one value on its way from the database to the counters.

The counters keep what counts against one in a row beside the key's, by its pattern: another amount or period finds what
was used.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

MAX_MODEL_LIMITS = 10  # of one key
_BEHIND_KEY = "/"  # in no id of a key or an organisation


class ModelLimit(NamedTuple):
    """The most that a key may spend in a period on the models that a pattern matches."""

    row_id: str  # of what counts against it, in the counters
    model: str  # a pattern, as of `allowed_models`
    spend_limit_nanos: int  # 0: nothing may be spent
    spend_reset: str  # never, daily, weekly, monthly
    since: int  # the first generation of counters that knows all that counts against it


ModelLimits = tuple[ModelLimit, ...]


def row_id_of(key_id: str, pattern: str) -> str:
    """Of what counts against the limit of a key for a pattern."""
    return f"{key_id}{_BEHIND_KEY}{pattern}"


def key_and_pattern(row_id: str) -> tuple[str, str]:
    """From the id of a row; the pattern is empty when it is the row of a key or an organisation."""
    key_id, _, pattern = row_id.partition(_BEHIND_KEY)
    return key_id, pattern


@lru_cache(maxsize=4_096)
def rows_of(limits: ModelLimits) -> tuple[str, ...]:
    """Their rows in the counters."""
    return tuple([limit[0] for limit in limits])


def model_limits_of(key_id: str, stored: Sequence[Mapping[str, Any]] | None) -> ModelLimits:
    """As a key's column `model_limits` has them."""
    if not stored:
        return ()
    return tuple(
        ModelLimit(
            row_id_of(key_id, one["model"]), one["model"], one["spend_limit_nanos"], one["spend_reset"], one["since"]
        )
        for one in stored
    )

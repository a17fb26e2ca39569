"""The providers' dialects. To add one, write its file and add a line to DIALECTS.

A dialect reads requests, changes the few bytes that may be changed, meters answers and words refusals; see `Dialect`.
"""

from proxyd.providers.anthropic import Anthropic
from proxyd.providers.base import BadBody, Dialect, Meter, Parsed, Pieces
from proxyd.providers.body import SlowBody
from proxyd.providers.gemini import Gemini
from proxyd.providers.large_body import for_metering
from proxyd.providers.openai import OpenAI
from proxyd.providers.openai_compatible import adapted
from proxyd.providers.openai_multipart import read_form

DIALECTS: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic(), "gemini": Gemini()}
# OpenAI's as other servers speak it: by what an output limit is called there, whether streams are asked for usage, and
# whether the output has to be limited for sure: many servers know the older name alone, and pass over the newer one.
COMPATIBLE: dict[tuple[str, bool, bool], Dialect] = {
    (limit, asks, limited): OpenAI(
        chat_limit=limit, renames_limit=limited and limit == "max_tokens", asks_for_usage=asks
    )
    for limit in ("max_tokens", "max_completion_tokens")
    for asks in (True, False)
    for limited in (True, False)
}

__all__ = [
    "COMPATIBLE",
    "DIALECTS",
    "BadBody",
    "Dialect",
    "Meter",
    "Parsed",
    "Pieces",
    "SlowBody",
    "adapted",
    "for_metering",
    "read_form",
]

"""The providers' dialects. To add one, write its file and add a line to DIALECTS.

A dialect reads requests, changes the few bytes that may be changed, meters answers and words refusals; see `Dialect`.
"""

from proxyd.providers.anthropic import Anthropic
from proxyd.providers.base import BadBody, Dialect, Meter, Parsed, Pieces
from proxyd.providers.body import SlowBody
from proxyd.providers.gemini import Gemini
from proxyd.providers.large_body import for_metering
from proxyd.providers.openai import OpenAI
from proxyd.providers.openai_multipart import read_form

DIALECTS: dict[str, Dialect] = {"openai": OpenAI(), "anthropic": Anthropic(), "gemini": Gemini()}
# OpenAI's as other servers speak it: by what an output limit is called there, and whether streams are asked for usage.
COMPATIBLE: dict[tuple[str, bool], Dialect] = {
    (limit, asks): OpenAI(chat_limit=limit, asks_for_usage=asks)
    for limit in ("max_tokens", "max_completion_tokens")
    for asks in (True, False)
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
    "for_metering",
    "read_form",
]

"""What the turns of all WebSockets have in common: a model, a behaviour, sound and its tokens.

Sound is silence: each word of an answer is one token of sound (50 ms), each 100 ms (40 ms with Gemini) of what is heard
is one as well.
"""

import base64
from collections.abc import Callable

from proxyd.sandbox import work
from proxyd.sandbox.behaviour import Behaviour
from proxyd.sandbox.invoice import Attempt
from proxyd.sandbox.values import Slug

NewAttempt = Callable[[], Attempt]
WORD = base64.b64encode(bytes(2_400)).decode()  # 50 ms at 24,000 samples of two bytes a second


def prepared(slug: Slug, model: str, wanted: str, attempt: Attempt) -> tuple[str, Behaviour]:
    """The real model and the behaviour, both noted."""
    attempt.stream, attempt.status = True, 101
    return work.prepared(slug, model, wanted, attempt)


def counts_of(text_in: int, audio_in: int, text_out: int, audio_out: int) -> dict[str, int]:
    """By the names of genai-prices."""
    return {
        "input_tokens": text_in + audio_in,
        "input_audio_tokens": audio_in,
        "output_tokens": text_out + audio_out,
        "output_audio_tokens": audio_out,
    }

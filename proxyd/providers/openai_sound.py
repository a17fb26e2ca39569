"""What OpenAI's requests for speech and transcriptions ask for.

Older models are sold by what is no token: tts-1 by the character, whisper-1 and gpt-transcribe by the second. The newer
ones count tokens. Which is which stands in the section "Transcription and speech" of
https://developers.openai.com/api/docs/pricing, and is told by the names of models here.
"""

import math
import re
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import flag, model_name, read_object, text
from proxyd.providers.input_estimate import OVERHEAD_TOKENS
from proxyd.providers.openai_forms import Form
from proxyd.wire.sound import seconds_of
from shared.catalog import Kind
from shared.output_limits import output_maximum
from shared.pricing import Size, Usage

_BY_CHARACTER = re.compile(r"tts-1(?:-|$)")
_BY_SECOND = re.compile(r"whisper|gpt-transcribe|gpt-live-transcribe")
_ONE_BLOCK = re.compile(r"gpt-4o-(?:mini-)?transcribe")

# No codec in use takes less for a second of speech: 4 kbit/s.
BYTES_PER_SECOND = 500
# What a second of sound is to a model that hears it; https://developers.openai.com/api/docs/guides/realtime-costs.
TOKENS_PER_SECOND = 10
# The context window of https://developers.openai.com/api/docs/models/gpt-4o-transcribe, for sound that is not cut.
BLOCK_TOKENS = 16_000

# A spoken text has some 1.3 tokens of sound for each of its bytes at usual speed. Figures and symbols take longer to be
# said than to be written, so this is three times that; no page of the provider has a limit.
SPOKEN_TOKENS_PER_BYTE = 4
SPOKEN_LEAST_TOKENS = 256
_SLOWEST = 0.25


def read_speech(body: bytes) -> Parsed:
    """Understand a request for speech. Raises BadBody."""
    document = read_object(body)
    model = model_name(document.get("model"))
    given = document.get("input")
    if not isinstance(given, str):
        raise BadBody("input must be a string.", "input")
    speed = document.get("speed")
    if speed is not None and (not isinstance(speed, int | float) or isinstance(speed, bool)):
        raise BadBody("speed must be a number.", "speed")
    if _BY_CHARACTER.match(model):
        usage = Usage({"input_characters": len(given)})
        size = Size(0, overhead_tokens=0, tool_fees=usage.counts, output_free=True)
    else:
        stretch = 1 if speed is None else 1 / min(1, max(_SLOWEST, speed))
        spoken = SPOKEN_LEAST_TOKENS + int(len(given.encode()) * SPOKEN_TOKENS_PER_BYTE * stretch)
        size = Size(len(body), overhead_tokens=OVERHEAD_TOKENS, output_limit=spoken, output_fixed=True)
        usage = Usage({"input_tokens": len(body), "output_tokens": spoken}, estimated=True)
    stream = text(document, "stream_format") == "sse"
    return Parsed(Kind.SPEECH, model, stream, size, True, document, body, foretold=usage)


def read_no_form(body: bytes) -> Parsed:
    """A transcription in any other shape than a form. Raises BadBody."""
    del body
    raise BadBody("The body must be a form (multipart/form-data) with a file.")


def read_transcription(form: Form, body: bytes) -> Parsed:
    """Understand a request for a transcription or a translation. Raises BadBody."""
    document: dict[str, Any] = form.document
    model = model_name(document.get("model"))
    seconds = _most_seconds(form, body)
    foretold = None
    if _BY_SECOND.search(model):
        foretold = Usage({"audio_seconds": seconds}, estimated=True)
        size = Size(0, overhead_tokens=0, tool_fees=foretold.counts, output_free=True)
    else:
        heard = seconds * TOKENS_PER_SECOND
        limit = output_maximum("openai", model) or heard
        if _ONE_BLOCK.match(model) and "chunking_strategy" not in document:
            heard = min(heard, BLOCK_TOKENS)
        else:
            limit = max(limit, heard)  # each piece has a limit of its own
        size = Size(
            form.text_bytes,
            audio_tokens=heard,
            overhead_tokens=OVERHEAD_TOKENS,
            output_limit=limit,
            output_fixed=True,
            classes=("input_audio_tokens",),
        )
    return Parsed(Kind.TRANSCRIPTIONS, model, flag(document, "stream"), size, True, document, body, foretold=foretold)


def _most_seconds(form: Form, body: bytes) -> int:
    """How long the sound can be: as its file says, else by its bytes. Texts may be sound too: examples of voices."""
    told = None if form.only is None else seconds_of(body[form.only[0] : form.only[1]])
    by_bytes = form.text_bytes + form.media_bytes
    if told is None:
        return -(-by_bytes // BYTES_PER_SECOND)
    return max(1, min(math.ceil(told) + form.text_bytes // BYTES_PER_SECOND, -(-by_bytes // BYTES_PER_SECOND)))

"""Gemini Live: what a session's answers used, as `usageMetadata` tells it now and then.

Each of these is billed by itself, with all of the conversation read anew: developers who compared theirs with their
invoices found the sum of all of them to be the bill, within three per cent
(https://discuss.ai.google.dev/t/173248, read in November 2026). How much the next one will read nobody can tell from
here, as the counts exceed the context window, so that a session has no bound.
"""

from collections.abc import Mapping
from typing import Any

from proxyd.providers.base import BadBody, Parsed
from proxyd.providers.body import model_name
from proxyd.providers.gemini import GenerateUsage
from proxyd.providers.gemini_request import camel
from shared.catalog import Endpoint, Kind
from shared.pricing import Size, Usage

UNPRICED = "a Live session"
_HEARD_BYTES = 1_000  # of base64, half of what 40 ms of sound (a token) are at 16,000 samples of two bytes a second
_SAID_BYTES = 2_560  # of base64, a token of 40 ms at 24,000 samples
SESSION_SIZE = Size(0, context_inputs=True, countable=False, unpriced=UNPRICED, unbounded=UNPRICED)


def parsed_of(model: str, document: Mapping[str, Any]) -> Parsed:
    """An answer as an admission sees it."""
    return Parsed(Kind.LIVE, model, stream=True, size=SESSION_SIZE, wants_usage=True, document=document, raw=b"")


def setup_of(message: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    """The model of a session and its settings; None: this is no setup. Raises BadBody."""
    if "setup" not in message:
        return None
    setup = message["setup"]
    if not isinstance(setup, dict):
        raise BadBody("setup must be an object.", "setup")
    return model_name(setup.get("model"), "setup.model").removeprefix("models/"), setup


def begins(message: Mapping[str, Any]) -> bool:
    """Whether a client's message may make the model answer."""
    return any(camel(name) in ("clientContent", "realtimeInput", "toolResponse") for name in message)


class LiveUsage(GenerateUsage):
    """One answer of a session, up to its figures."""

    def __init__(self, endpoint: Endpoint, parsed: Parsed) -> None:
        super().__init__(endpoint, parsed)
        self._heard_bytes = 0
        self._said_bytes = 0
        self._text_bytes = 0

    def sent(self, size: int, *, sound: bool) -> None:
        """The client has sent so much since the last figures."""
        if sound:
            self._heard_bytes += size
        else:
            self._text_bytes += size

    def told(self, message: Mapping[str, Any]) -> bool:
        """Take a message of the provider; True when it has figures, with which this answer ends."""
        content = message.get("serverContent")
        if isinstance(content, dict):
            self._content(content)
        usage = message.get("usageMetadata")
        if not isinstance(usage, dict):
            return False
        self.complete = True
        self.report(usage)
        return True

    def _content(self, content: Mapping[str, Any]) -> None:
        turn = content.get("modelTurn")
        parts = turn.get("parts") if isinstance(turn, dict) else None
        for part in parts if isinstance(parts, list) else ():
            data = part.get("inlineData") if isinstance(part, dict) else None
            sound = data.get("data") if isinstance(data, dict) else None
            if isinstance(sound, str):
                self._said_bytes += len(sound)
            elif isinstance(part, dict):
                self.content([value for name, value in part.items() if name != "thoughtSignature"])
        grounding = content.get("groundingMetadata")
        if isinstance(grounding, dict):
            self._grounding(grounding)

    def usage(self) -> Usage | None:
        found = super().usage()
        if found is not None and self.reported is not None:
            _leave_nothing_unclassed(found, self.reported)
        return found

    def _writes_for_nothing(self) -> bool:
        return False  # figures may be those of what was heard alone

    def _reads_for_nothing(self, counts: dict[str, int]) -> bool:
        del counts
        return False  # or of what was said

    def delivered(self) -> Usage:
        found = super().delivered()
        if self.reported is None:
            heard, said = -(-self._heard_bytes // _HEARD_BYTES), -(-self._said_bytes // _SAID_BYTES)
            counts = found.counts
            counts["input_tokens"], counts["input_audio_tokens"] = -(-self._text_bytes // 3) + heard, heard
            counts["output_tokens"] = counts.get("output_tokens", 0) + said
            counts["output_audio_tokens"] = said
        return found


def _leave_nothing_unclassed(usage: Usage, reported: Mapping[str, Any]) -> None:
    """Tokens of which nobody says whether they are text or sound cost what the dearest of them would.

    Thoughts are text, and told beside the answer. The details leave some of the input out.
    """
    thoughts = reported.get("thoughtsTokenCount")
    for whole, fields, text in (
        ("input_tokens", ("promptTokensDetails", "toolUsePromptTokensDetails"), 0),
        ("output_tokens", ("responseTokensDetails",), thoughts if type(thoughts) is int else 0),
    ):
        known = text + sum(map(_tokens, (reported.get(field) for field in fields)))
        left = usage.counts.get(whole, 0) - known
        if left > 0:
            usage.unknown = True
            key = f"unknown_{whole}"
            usage.counts[key] = max(left, usage.counts.get(key, 0))


def _tokens(details: object) -> int:
    counts = [part.get("tokenCount") for part in details if isinstance(part, dict)] if isinstance(details, list) else []
    return sum(count for count in counts if type(count) is int and count > 0)

"""Pictures by Imagen and films by Veo: `:predict` and `:predictLongRunning`, billed by the picture and by the second.

Sources: ai.google.dev/gemini-api/docs/imagen and .../veo ("Parameters"), of whose defaults the larger ones are taken.
Only what was made is billed. Of pictures the answer tells how many there are. A film is made after its answer, in the
length that was asked for; should none come of it, what was charged for it stays.
"""

from collections.abc import Mapping
from typing import Any

from proxyd.providers.accumulator import UsageAccumulator
from proxyd.providers.base import Parsed
from proxyd.providers.body import model_name, read_object
from proxyd.providers.gemini_request import get, spelling
from proxyd.providers.input_estimate import shaping_parameter
from proxyd.providers.protobuf_json import count, objects
from proxyd.wire.sse import Event
from shared.catalog import Kind
from shared.pricing import Size, Usage

PICTURES = "generated_images"
DEFAULT_PICTURES = 4
DEFAULT_SECONDS = 8
_FILMS = {"720p": "video_seconds_720p", "1080p": "video_seconds_1080p", "4k": "video_seconds_4k"}
_NESTED = {"parameters": (b'"sampleCount"', b'"durationSeconds"', b'"resolution"')}


def read(kind: Kind, body: bytes, path_model: str | None, query: str) -> Parsed:
    """Understand a body whose model stands in the path. Raises BadBody."""
    document = read_object(body, _NESTED)
    given = document.get("parameters")
    parameters: Mapping[str, Any] = given if isinstance(given, dict) else {}
    prompts = max(1, len(objects(document, "instances")))
    samples = _number(parameters, "sampleCount")
    if kind is Kind.PREDICT:
        fees = {PICTURES: prompts * (samples or DEFAULT_PICTURES)}
    else:
        resolution = str(get(parameters, "resolution") or "720p").lower()
        seconds = _number(parameters, "durationSeconds") or DEFAULT_SECONDS
        # What is made in a resolution that nobody here knows costs what the largest one does.
        fees = {_FILMS.get(resolution, _FILMS["4k"]): prompts * (samples or 1) * seconds}
    shaping = shaping_parameter(query)
    size = Size(
        text_bytes=0,
        overhead_tokens=0,
        output_free=True,
        countable=False,
        cache_writes=False,
        tool_fees=fees,
        unpriced=shaping,
        unbounded=shaping,
    )
    model = model_name(path_model)
    return Parsed(kind, model, stream=False, size=size, wants_usage=True, document=document, raw=body)


def _number(parameters: Mapping[str, Any], name: str) -> int | None:
    written = spelling(parameters, name)
    return count(parameters, written, least=1, param=f"parameters.{written}")


class MediaUsage(UsageAccumulator):
    """What was made: as many pictures as an answer holds, or the films that were asked for."""

    _made: dict[str, int] | None = None

    def event(self, event: Event) -> bool:
        del event
        return False

    def document(self, document: dict[str, Any]) -> None:
        asked = dict(self._parsed.size.tool_fees)
        if self._parsed.kind is Kind.PREDICT:
            made = document.get("predictions")
            pictures = [one for one in made if _is_picture(one)] if isinstance(made, list) else []
            self._made = {PICTURES: len(pictures)}
        else:
            self._made = asked if isinstance(document.get("name"), str) else {}

    def documents(self, documents: list[Any]) -> None:
        del documents
        self.odd = True

    def usage(self) -> Usage | None:
        return None if self._made is None else Usage(dict(self._made))

    def delivered(self) -> Usage:
        """Of an answer that nobody could read: all that was asked for."""
        return Usage(dict(self._parsed.size.tool_fees), estimated=True)


def _is_picture(made: object) -> bool:
    """What was held back for safety is told in its place, and not billed."""
    return isinstance(made, dict) and bool(made.get("bytesBase64Encoded"))

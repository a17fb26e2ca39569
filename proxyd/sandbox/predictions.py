"""Pictures and films of Gemini's, billed by the piece and by the second at prices of this provider's own list.

Shapes and prices: https://ai.google.dev/gemini-api/docs/imagen, .../veo and .../pricing. genai-prices has none of them.
"""

import base64
from decimal import Decimal

from proxyd.sandbox import reading
from proxyd.sandbox.invoice import MARKER_CHARACTERS, Attempt
from proxyd.sandbox.refusal import Refusal
from proxyd.sandbox.values import Document

_PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n sandbox").decode()
_USD_EACH = {
    "imagen-4.0-fast-generate-001": Decimal("0.02"),
    "imagen-4.0-generate-001": Decimal("0.04"),
    "imagen-4.0-ultra-generate-001": Decimal("0.06"),
}
_USD_A_SECOND = {
    "veo-3.1-generate-preview": {"720p": Decimal("0.40"), "1080p": Decimal("0.40"), "4k": Decimal("0.60")},
    "veo-3.1-fast-generate-preview": {"720p": Decimal("0.10"), "1080p": Decimal("0.12"), "4k": Decimal("0.30")},
    "veo-3.1-lite-generate-preview": {"720p": Decimal("0.05"), "1080p": Decimal("0.08")},
}
_NANOS_PER_USD = 1_000_000_000


def made(model: str, document: Document, attempt: Attempt, *, film: bool) -> Document:
    """The answer to a request for pictures, or the operation that makes a film. A picture of "blocked" is held back."""
    prompt = reading.string(reading.objects(document, "instances")[0], "prompt")
    given = document.get("parameters")
    parameters: Document = given if isinstance(given, dict) else {}
    attempt.model, attempt.marker = model, prompt[:MARKER_CHARACTERS]
    if film:
        rates = _USD_A_SECOND.get(model)
        rate = None if rates is None else rates.get(str(parameters.get("resolution", "720p")))
        if rate is None:
            raise Refusal(404, f"The model `{model[:100]}` makes no such films.")
        seconds = (reading.count(parameters, "durationSeconds") or 8) * (reading.count(parameters, "sampleCount") or 1)
        attempt.cost_nanos = int(rate * seconds * _NANOS_PER_USD)
        return {"name": f"models/{model}/operations/{attempt.id}"}
    each = _USD_EACH.get(model)
    if each is None:
        raise Refusal(404, f"The model `{model[:100]}` makes no pictures.")
    wanted = reading.count(parameters, "sampleCount") or 4
    good = wanted - 1 if "blocked" in prompt else wanted
    attempt.cost_nanos = int(each * good * _NANOS_PER_USD)
    pictures: list[Document] = [{"mimeType": "image/png", "bytesBase64Encoded": _PIXEL} for _ in range(good)]
    return {"predictions": [*pictures, *({"raiFilteredReason": "blocked"} for _ in range(wanted - good))]}

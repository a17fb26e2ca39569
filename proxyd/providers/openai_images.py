"""What OpenAI's requests for pictures ask for: generations, edits and variations, as JSON or as a form.

Sources: "Calculating costs" of https://developers.openai.com/api/docs/guides/image-generation (tables of the earlier
models, the calculator of the later ones, 100 tokens for each partial image) and the types of the openai SDK 3.
"""

import re
from collections.abc import Mapping
from typing import Any

from proxyd.providers.base import Parsed
from proxyd.providers.body import MAX_MODEL_LENGTH, count, flag, model_name, read_object, text
from proxyd.providers.input_estimate import OVERHEAD_TOKENS, InputEstimate
from proxyd.providers.openai_forms import Form
from shared.catalog import Kind
from shared.pricing import Size, Usage

# Tokens of a picture by quality and size, of the models before gpt-image-2.
_EARLIER = re.compile(r"gpt-image-1(?!\d)")
_TABLE = {
    "low": {"1024x1024": 272, "1024x1536": 408, "1536x1024": 400},
    "medium": {"1024x1024": 1_056, "1024x1536": 1_584, "1536x1024": 1_568},
    "high": {"1024x1024": 4_160, "1024x1536": 6_240, "1536x1024": 6_208},
}
_TABLE_MOST = 6_240

# The calculator: a grid of so many cells along the longer edge, weighed by the picture's area.
_GRID_2 = {"low": 16, "medium": 48, "high": 96}
_GRID_LATER = {"low": 16, "medium": 24, "high": 48, "xhigh": 64, "max": 96}
_GRID_MOST = 96
_AREA_OFFSET, _AREA_SCALE = 2_000_000, 4_000_000
_MOST_PIXELS = 8_294_400
_SIZE = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")

# Words that a model writes about its picture, and is paid for as output; no page has a limit of theirs.
WRITTEN_TOKENS = 2_048
PARTIAL_TOKENS = 100
_FRAMES = 9  # of an animation that does not say how many


def read_images(body: bytes) -> Parsed:
    """Understand a JSON body. Raises BadBody."""
    document = read_object(body)
    estimate = InputEstimate()
    given = document.get("images")
    references = given if isinstance(given, list) else []
    for reference in (*references, *(document.get(name) for name in ("image", "mask", "markup"))):
        if reference is not None:
            estimate.image(reference.get("image_url") if isinstance(reference, dict) else reference)
    return _parsed(document, body, estimate.text_bytes(body), estimate.images)


def read_image_form(form: Form, body: bytes) -> Parsed:
    """Understand a form. Raises BadBody."""
    return _parsed(form.document, body, form.text_bytes, form.media)


def asked_for(model: str | None, answer: Mapping[str, Any]) -> Parsed:
    """The request that an answer may be one to, as far as the answer tells; for one that came past us."""
    told = {name: answer[name] for name in ("quality", "size", "output_format") if isinstance(answer.get(name), str)}
    made = answer.get("data")
    number = len(made) if isinstance(made, list) else 0
    named = (model or "")[:MAX_MODEL_LENGTH].strip() or None
    return _parsed({**told, "model": named, "n": max(1, number)}, b"", 0, 0)


def _parsed(document: Mapping[str, Any], body: bytes, text_bytes: int, images: int) -> Parsed:
    # A provider has a default. Nobody can bound what names no model; without a limit it is priced as it is served.
    model = None if document.get("model") is None else model_name(document["model"])
    pictures = count(document, "n", least=1) or 1
    quality, wanted = text(document, "quality"), text(document, "size")
    stream = flag(document, "stream")
    if model is not None and model.startswith("dall-e-"):
        usage = Usage({"image_generations": pictures}, _sold_as(model, quality, wanted))
        size = Size(0, overhead_tokens=0, choices=pictures, tool_fees=usage.counts, output_free=True)
        return Parsed(Kind.IMAGES, model, stream, size, True, document, body, foretold=usage)
    animated = text(document, "output_format") == "gif"
    frames = (count(document, "frame_count", least=1) or _FRAMES) if animated else 1
    partial = (count(document, "partial_images") or 0) * PARTIAL_TOKENS
    unpriced = _unpriced(document)
    size = Size(
        text_bytes * pictures,  # each picture is billed as if it were asked for by itself
        image_parts=images * pictures,
        overhead_tokens=OVERHEAD_TOKENS * pictures,
        output_limit=_tokens(model or "", quality, wanted) * frames + WRITTEN_TOKENS + partial,
        output_fixed=True,
        choices=pictures,
        unpriced=unpriced,
        unbounded=unpriced,
    )
    return Parsed(Kind.IMAGES, model, stream, size, True, document, body)


def _sold_as(model: str, quality: str | None, size: str | None) -> str:
    """The name under which the price list has a picture: the size decides, and of dall-e-3 the quality too."""
    shown = "1024x1024" if size in (None, "auto") else size
    if model != "dall-e-3":
        return f"{model} {shown}"
    return f"{model} {'hd' if quality == 'hd' else 'standard'} {shown}"


def _tokens(model: str, quality: str | None, size: str | None) -> int:
    """The most tokens of one picture; what the model chooses itself counts as its dearest."""
    if _EARLIER.match(model):
        return _TABLE.get(quality or "", {}).get(size or "", _TABLE_MOST)
    grids = _GRID_2 if re.match(r"gpt-image-2(?!\.)", model) else _GRID_LATER if model.startswith("gpt-image-") else {}
    grid = grids.get(quality or "", _GRID_MOST)
    found = _SIZE.fullmatch(size or "")
    if found is None:
        return _weighed(grid * grid, _MOST_PIXELS)
    longer, shorter = sorted((int(found[1]), int(found[2])), reverse=True)
    return _weighed(grid * -(-grid * shorter // longer), longer * shorter)


def _weighed(cells: int, pixels: int) -> int:
    return -(-cells * (_AREA_OFFSET + pixels) // _AREA_SCALE)


def _unpriced(document: Mapping[str, Any]) -> str | None:
    """What changes the bill by as much as nobody tells."""
    if document.get("svg") is not None or text(document, "output_format") == "svg":
        return "the output format svg"  # another model writes it
    return None if text(document, "complexity") is None else "complexity"

"""OpenAI's endpoints that take a form: its fields as the JSON object that would say the same.

The fields that decide about money must have one reading: each may stand there once, under its very name, and short.
Some servers take `n[]` for `n`, so a name with brackets behind one of these is refused, not overlooked.
"""

from typing import Any

from msgspec import Struct

from proxyd.providers.base import BadBody
from proxyd.wire.form import Part

_TEXTS = frozenset({"model", "quality", "size", "output_format", "complexity"})
_COUNTS = frozenset({"n", "partial_images", "frame_count"})
_FLAGS = frozenset({"stream"})
_GROUPS = frozenset({"chunking_strategy", "svg"})  # may be written as several fields, such as svg[model]
_MEDIA = frozenset({"file", "image", "mask", "markup"})  # files, or texts that name one
_WORDS = {b"true": True, b"false": False}


class Form(Struct, frozen=True):
    """What a form asks for. `document` has the fields that decide about money, with their types."""

    document: dict[str, Any]
    text_bytes: int  # of all texts
    media: int  # files, and texts that name one
    media_bytes: int  # of the files
    only: tuple[int, int] | None  # where the one file of the form begins and ends


def fields_of(parts: list[Part]) -> Form:
    """Understand the parts of a form. Raises BadBody."""
    document: dict[str, Any] = {}
    for part in parts:
        base, bracket, _ = part.name.partition("[")
        if base in _GROUPS:
            document[base] = True
        elif base in _TEXTS or base in _COUNTS or base in _FLAGS:
            if bracket or part.file or part.text is None:
                raise BadBody(f"{base} must be a plain, short field of the form.", base)
            if base in document:
                raise BadBody(f"{base} stands twice in the form.", base)
            document[base] = _value(base, part.text)
    files = [part for part in parts if part.file]
    return Form(
        document=document,
        text_bytes=sum(part.size for part in parts if not part.file),
        media=sum(part.file or part.name.partition("[")[0] in _MEDIA for part in parts),
        media_bytes=sum(part.size for part in files),
        only=(files[0].start, files[0].start + files[0].size) if len(files) == 1 else None,
    )


def _value(name: str, raw: bytes) -> str | int | bool:
    if name in _COUNTS:
        if not raw.isdigit() or len(raw) > 9:
            raise BadBody(f"{name} must be a whole number.", name)
        return int(raw)
    if name in _FLAGS:
        value = _WORDS.get(raw.lower())
        if value is None:
            raise BadBody(f"{name} must be true or false.", name)
        return value
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise BadBody(f"{name} must be text in UTF-8.", name) from None

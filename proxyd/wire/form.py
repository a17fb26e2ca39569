"""A whole form as it passes by: which parts it has, the short texts among them, and how large the others are.

For bodies that are metered, of which several fields decide about money. The law is that of `multipart`: a form has one
reading or none, and files are not kept here.
"""

from dataclasses import dataclass

from proxyd.wire.multipart import MAX_VALUE_BYTES, FieldReader, FormError, described

MAX_PARTS = 1_000


@dataclass(slots=True)
class Part:
    """One part. `text` is None of a file, and of a text that is longer than any that decides about something."""

    name: str
    file: bool
    size: int = 0
    text: bytes | None = None
    start: int = 0  # where its content stands in the form


class FormReader(FieldReader):
    """Collects the parts of a form. Feed it the body, in pieces of any size, and then tell the end."""

    def __init__(self, boundary: bytes) -> None:
        super().__init__(boundary, b"")
        self.parts: list[Part] = []
        self._fed = 0

    def feed(self, data: bytes) -> None:
        self._fed += len(data)
        super().feed(data)

    def _begin(self, head: bytes) -> None:
        description = described(head)
        if len(self.parts) == MAX_PARTS:
            raise FormError(f"it has more than {MAX_PARTS} parts")
        if not description.is_file:
            description.check_plain()
        try:
            name = description.name.decode()
        except UnicodeDecodeError:
            raise FormError("the name of a part is in doubt") from None
        self.parts.append(Part(name, description.is_file, text=None if description.is_file else b""))

    def _take(self, data: bytes) -> None:
        if not self.parts:
            return  # before the first delimiter there is nothing
        part = self.parts[-1]
        if not part.size:
            part.start = self._fed - len(self._buffer)
        part.size += len(data)
        if part.text is not None:
            part.text = part.text + data if part.size <= MAX_VALUE_BYTES else None

    def _finish(self) -> None:
        """Nothing is left to be done: a part is what was taken for it."""

"""Lines of a body that comes in pieces, such as JSON Lines (jsonlines.org): bytes in, complete lines out.

Keeps no more than one incomplete line, and of that no more than a limit.
"""


class LineTooLong(Exception):
    """A line is longer than the limit."""


class LineDecoder:
    """Cuts a body into lines, each without its end. Blank lines are left out."""

    def __init__(self, max_line_bytes: int) -> None:
        self._max_bytes = max_line_bytes
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """All lines that are complete now. Raises LineTooLong."""
        *complete, rest = data.split(b"\n")
        found = [self._joined(line) for line in complete]
        if rest:
            self._size += len(rest)
            if self._size > self._max_bytes:
                raise LineTooLong
            self._held.append(rest)
        return [line for line in found if line.strip()]

    def end(self) -> list[bytes]:
        """The last line, if it has no end of its own."""
        line = self._joined(b"")
        return [line] if line.strip() else []

    def _joined(self, end: bytes) -> bytes:
        if not self._held:
            return end
        line = b"".join((*self._held, end))
        self._held.clear()
        self._size = 0
        return line

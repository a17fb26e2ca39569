"""A form as it passes by: the values of one text field in a multipart/form-data body (RFC 7578), without keeping files.

The law of this module: a form has one reading or none. Whatever another reader might take for a delimiter where we see
content, or for the name of our field where we see another, raises `FormError`. The bytes themselves are not changed.
"""

import re

from msgspec import Struct

MAX_PART_HEAD_BYTES = 8 * 1024
MAX_VALUE_BYTES = 1024

_WORD = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_TYPE = re.compile(
    rf'multipart/form-data[ \t]*;[ \t]*boundary=(?:"([^"\\]{{1,70}})"|({_WORD}))'
    rf'(?:[ \t]*;[ \t]*(?!boundary)[a-z-]+=(?:"[^"\\]*"|{_WORD}))*',
    re.IGNORECASE,
)
_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_DISPOSITION = re.compile(
    rb'content-disposition:[ \t]*form-data((?:[ \t]*;[ \t]*[a-z*]+=(?:"(?:[^"\\]|\\.)*"|[^";\s]+))*)[ \t]*',
    re.IGNORECASE,
)
_PARAMETER = re.compile(rb';[ \t]*([a-z*]+)=("(?:[^"\\]|\\.)*"|[^";\s]+)', re.IGNORECASE)
_PLAIN = frozenset((b"content-disposition", b"content-type", b"content-length"))


class FormError(Exception):
    """The form can be read in two ways, or in none."""


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a form, by its Content-Type; None: it is no form, or its boundary is in doubt."""
    match = _TYPE.fullmatch(content_type.strip())
    if match is None:
        return None
    boundary = match[1] or match[2]
    return boundary.encode("ascii") if _BOUNDARY.fullmatch(boundary) else None


class FieldReader:
    """Finds the values of the text field `name`. Feed it the body, in pieces of any size, and then tell the end."""

    def __init__(self, boundary: bytes, name: bytes) -> None:
        self._marker = b"--" + boundary
        self._name = name
        self._buffer = b"\r\n"  # so that the first delimiter looks like all others
        self._state = self._preamble
        self._value: bytes | None = None  # of our field, while it passes by
        self.values: list[bytes] = []
        self.ended = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes. Raises FormError."""
        self._buffer += data
        while self._state():
            pass

    def end(self) -> None:
        """The body is over. Raises FormError when the form is not."""
        if not self.ended:
            raise FormError("the form is not complete")

    def _preamble(self) -> bool:
        """Nothing may stand before the first delimiter, though RFC 2046 lets it: readers differ about it."""
        wanted = b"\r\n" + self._marker
        if not self._buffer.startswith(wanted[: len(self._buffer)]):
            raise FormError("the form does not begin with its boundary")
        return self._content()

    def _content(self) -> bool:
        """The content of a part, up to the next delimiter. True: the state has changed."""
        buffer, marker = self._buffer, self._marker
        at = buffer.find(marker)
        if at < 0:
            self._pass(max(0, len(buffer) - len(marker) - 2))
            return False
        after = at + len(marker)
        if len(buffer) < after + 2:
            return False
        follows = buffer[after : after + 2]
        if buffer[max(0, at - 2) : at] != b"\r\n" or follows not in (b"\r\n", b"--"):
            raise FormError("the boundary stands where it delimits nothing")
        self._pass(at - 2)
        self._finish()
        self._buffer = buffer[after + 2 :]
        self.ended = follows == b"--"
        self._state = self._epilogue if self.ended else self._part_head
        return True

    def _pass(self, size: int) -> None:
        """Let so many bytes of content go."""
        if size > 0:
            self._take(self._buffer[:size])
            self._buffer = self._buffer[size:]

    def _part_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n", 0, MAX_PART_HEAD_BYTES)
        if end < 0:
            if len(self._buffer) >= MAX_PART_HEAD_BYTES:
                raise FormError("the head of a part is too long")
            return False
        head = self._buffer[:end]
        if self._marker in head:
            raise FormError("the boundary stands where it delimits nothing")
        self._begin(head)
        self._buffer = self._buffer[
            end + 2 :
        ]  # the last line break may be that of a delimiter, when there is no content
        self._state = self._first_of_content
        return True

    def _first_of_content(self) -> bool:
        """Take off the line break that ends the head. What follows it at once may be a delimiter: RFC 2046, 5.1.1."""
        if len(self._buffer) < 2 + len(self._marker):
            return False
        if not self._buffer.startswith(b"\r\n" + self._marker):
            self._buffer = self._buffer[2:]
        self._state = self._content
        return True

    def _epilogue(self) -> bool:
        """What follows the last delimiter is nobody's, unless a careless reader would go on there."""
        if self._marker in self._buffer:
            raise FormError("the boundary stands behind the end")
        self._buffer = self._buffer[-len(self._marker) :]
        return False

    def _begin(self, head: bytes) -> None:
        """A part has begun."""
        description = described(head)
        if description.name == self._name:
            description.check_plain()
            self._value = b""

    def _take(self, data: bytes) -> None:
        """Some of its content."""
        if self._value is not None:
            self._value += data
            if len(self._value) > MAX_VALUE_BYTES:
                raise FormError("the field is too long")

    def _finish(self) -> None:
        """It is over."""
        if self._value is not None:
            self.values.append(self._value)
            self._value = None


class Description(Struct, frozen=True):
    """What the head of a part says."""

    name: bytes
    lines: list[bytes]
    parameters: list[tuple[bytes, bytes]]

    @property
    def is_file(self) -> bool:
        return any(key.lower() in (b"filename", b"filename*") for key, _ in self.parameters)

    def check_plain(self) -> None:
        """Raises FormError unless every reader takes it for a plain text."""
        if any(line.partition(b":")[0].lower() not in _PLAIN for line in self.lines) or len(self.parameters) != 1:
            raise FormError("the field is not plain text")


def described(head: bytes) -> Description:
    """Read the head of a part. Raises FormError."""
    lines = head.split(b"\r\n")
    named = [line for line in lines if line.lower().startswith(b"content-disposition")]
    if len(named) != 1 or any(line[:1] in b" \t" or b"\n" in line or b"\r" in line for line in lines if line):
        raise FormError("a part has not just one Content-Disposition")
    match = _DISPOSITION.fullmatch(named[0])
    if match is None:
        raise FormError("a Content-Disposition is malformed")
    parameters = _PARAMETER.findall(match[1])
    names = [value.strip(b'"') for key, value in parameters if key.lower() == b"name"]
    if len(names) != 1 or any(key.lower() == b"name*" for key, _ in parameters) or b"\\" in names[0]:
        raise FormError("the name of a part is in doubt")
    if b"%" in names[0]:
        raise FormError("the name of a part is in doubt")
    return Description(names[0], lines, parameters)

"""Forms, written by hand as clients send them."""

from collections.abc import Iterable

BOUNDARY = b"----a1b2c3"
CONTENT_TYPE = b"multipart/form-data; boundary=" + BOUNDARY
Field = tuple[str, str | bytes]


def part(name: str, value: str | bytes, head: bytes = b"") -> bytes:
    """One part. Bytes are a file, a string is a text."""
    named = b'Content-Disposition: form-data; name="' + name.encode() + b'"'
    if isinstance(value, bytes):
        return named + b'; filename="a.bin"\r\nContent-Type: application/octet-stream\r\n' + head + b"\r\n" + value
    return named + b"\r\n" + head + b"\r\n" + value.encode()


def form(fields: Iterable[Field]) -> bytes:
    """A whole form."""
    return raw_form(part(name, value) for name, value in fields)


def raw_form(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"--" + BOUNDARY + b"\r\n" + each + b"\r\n" for each in parts) + b"--" + BOUNDARY + b"--\r\n"

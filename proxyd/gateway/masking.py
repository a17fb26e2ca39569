"""Keeping the real credentials out of what goes back to a client, should a provider repeat one.

Whoever calls has sent one or more of them, and gives all: as they are, the longest first.

The law of this module: an error is passed on only if all of it could be read. What is no text (so is all that is
compressed in a way that is not known here), is larger than an error can be, or holds the credential in disguise is kept
back. Other answers are passed on as they come, and the credential is blanked where it stands in a piece as it is.
"""

import re
from collections.abc import Sequence

from proxyd.messages import Header, value_of
from proxyd.wire.content_coding import ContentDecoder

MASK = b"[provider credential]"
MAX_ERROR_BYTES = 1024 * 1024  # as it comes and as it is decoded; providers send some hundreds

# In no text, and in all but the shortest bytes that are compressed. Who sends such without saying so relies on a client
# that guesses, and each of a dozen codings could hide a credential from us.
_NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
_ESCAPED = re.compile(rb"\\u00([0-7][0-9A-Fa-f])")


class Unreadable(Exception):
    """An error that must not be passed on. The text says why, and quotes nothing of it."""


Secrets = tuple[bytes, ...]


def masked_headers(headers: list[Header], secrets: Secrets) -> list[Header]:
    """The headers of an answer, any status: some gateways echo what they were sent."""
    for secret in secrets:
        if secret and secret in b"\n".join(map(value_of, headers)):
            headers = [(name, value.replace(secret, MASK)) for name, value in headers]
    return headers


def without_coding(headers: list[Header]) -> list[Header]:
    """The headers of an error whose body is passed on plain."""
    return [header for header in headers if header[0] != b"content-encoding"]


def plain_error(codings: Sequence[bytes], body: bytes) -> bytes:
    """The body of an error without its compression; `codings` are the values of Content-Encoding. Raises Unreadable."""
    if len(body) > MAX_ERROR_BYTES:
        raise Unreadable(f"it is larger than {MAX_ERROR_BYTES} bytes")
    coding = b", ".join([value.strip().lower() for value in codings if value.strip()])
    decoder = ContentDecoder(coding, max_bytes=MAX_ERROR_BYTES)
    plain = decoder.feed(body)
    if body and not decoder.complete:
        raise Unreadable("it is compressed in a way that cannot be looked into")
    if not _is_text(plain):
        raise Unreadable("it is no text, or compressed without saying so")
    return plain


def _is_text(data: bytes) -> bool:
    """Whether it is text in UTF-8, so that what stands there stands there as it is."""
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return _NO_TEXT.search(data) is None


def masked(data: bytes, secrets: Secrets) -> bytes:
    """A text of a provider's without the credentials, where its length does not matter."""
    for secret in secrets:
        if secret and secret in data:
            data = data.replace(secret, MASK)
    return data


def blanked(data: bytes, secrets: Secrets) -> bytes:
    """A piece of an answer without the credentials, as long as before, because its length may have been told."""
    for secret in secrets:
        if secret and secret in data:
            data = data.replace(secret, b"*" * len(secret))
    return data


def masked_error(body: bytes, secrets: Secrets) -> bytes:
    """The plain body of an error without the credentials. Raises Unreadable where one stands there in disguise."""
    hidden = masked(body, secrets)
    if b"\\u00" in hidden or b"\\/" in hidden:  # spelt with JSON's escapes
        spelt = _ESCAPED.sub(lambda match: bytes([int(match[1], 16)]), hidden).replace(b"\\/", b"/")
        if any(secret and secret in spelt for secret in secrets):
            raise Unreadable("it repeats what it must not")
    return hidden

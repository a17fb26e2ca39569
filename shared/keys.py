"""Secrets we issue: proxy keys and management tokens.

A secret is a tag, 56 random hex digits and the CRC32 of those as the last 8. The checksum refuses a mistyped key
without a look at storage and lets a scanner recognise a leaked one; it adds no secrecy and takes none.
"""

import hashlib
import secrets
from typing import Literal
from zlib import crc32

from msgspec import Struct

Tag = Literal["sk-proxy-", "sk-mgmt-"]
PROXY_TAG: Tag = "sk-proxy-"
MANAGEMENT_TAG: Tag = "sk-mgmt-"

_PREFIX_HEX = 4
_SHA256 = hashlib.sha256()  # copied: OpenSSL looks up the algorithm for each new one, which takes longer than the hash
_TAGS = {tag: tag.encode() for tag in (PROXY_TAG, MANAGEMENT_TAG)}
_CHECKSUM_BYTES = 8
_AFTER_TAG_BYTES = 56 + _CHECKSUM_BYTES
PROXY_KEY_BYTES = len(PROXY_TAG) + _AFTER_TAG_BYTES
_HEX_DIGITS = b"0123456789abcdef"


class NewKey(Struct, frozen=True):
    """A secret at the only moment it exists in clear: `raw` is shown once, the rest is stored."""

    raw: str
    digest: str
    prefix: str

    def __repr__(self) -> str:
        return f"NewKey({self.prefix}...)"


def mint(tag: Tag) -> NewKey:
    """Make a secret from 28 random bytes of the operating system."""
    body = secrets.token_hex(28)
    raw = f"{tag}{body}{crc32(body.encode()):08x}"
    return NewKey(raw=raw, digest=digest(raw.encode()), prefix=raw[: len(tag) + _PREFIX_HEX])


def digest(raw: bytes) -> str:
    """SHA-256 in hex, the only form in which a secret is stored. The input has 224 random bits: no salt needed."""
    state = _SHA256.copy()
    state.update(raw)
    return state.hexdigest()


def looks_like_ours(raw: bytes, tag: Tag) -> bool:
    """Whether `raw` has the shape and the checksum of a secret with this tag. Costs no storage."""
    if len(raw) != len(tag) + _AFTER_TAG_BYTES or not raw.startswith(_TAGS[tag]):
        return False
    body = raw[len(tag) : -_CHECKSUM_BYTES]
    # Bytes are looked through in less time than by a regular expression, and this runs for every key.
    return not body.translate(None, _HEX_DIGITS) and raw.endswith(b"%08x" % crc32(body))

"""Where a secret lies that must not."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared import keys

_LIKE_A_SECRET = re.compile(rb"sk-(?:proxy|mgmt)-[0-9a-f]{64}")


def holds_raw_secret(content: bytes) -> bool:
    """Whether a proxy key or management token stands there. The checksum tells: in a database page the prefix of one
    may be followed at once by the digest, which looks alike."""
    found = _LIKE_A_SECRET.findall(content)
    return any(keys.looks_like_ours(text, tag) for text in found for tag in (keys.PROXY_TAG, keys.MANAGEMENT_TAG))


def found_in(folder: Path, known: Sequence[bytes]) -> Iterator[Path]:
    """The files in which one of ours lies, or one of those that are known."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if holds_raw_secret(content) or any(secret in content for secret in known):
                yield path

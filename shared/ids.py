"""Identifiers that people and logs meet: a tag and a ULID, sortable by the time they were made."""

from ulid import ULID


def new_id(tag: str) -> str:
    """`tag` and 26 characters of Crockford base32 (48 bits of milliseconds, 80 random bits), e.g. `key_01J...`."""
    return f"{tag}_{ULID()}"

"""Texts that people write beside a key: its tags, its owner's address and a note."""

import re
import unicodedata
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from shared.models import EMAIL_LENGTH, NOTE_LENGTH, TAG_LENGTH
from shared.secret_text import shown
from webapp.schemas.values import each_once, refuse_secret

MOST_TAGS = 10
# Without commas and quotes, so that a tag can stand in a list and in an address as it is.
_TAG = re.compile(r"[\w./:@+#-]+(?: [\w./:@+#-]+)*")
_EMAIL = re.compile(r"[^@\s,;<>\"']+@[^@\s,;<>\"']+")
_LINES = frozenset("\n\t")


def read_tag(raw: object) -> str:
    """A tag of 1 to 40 characters, in small letters."""
    if not isinstance(raw, str):
        raise ValueError("must be a list of texts")  # noqa: TRY004 - wrong input, not a wrong call
    refuse_secret(raw)  # before it is in small letters: some are known by their capitals
    tag = unicodedata.normalize("NFC", raw).strip().lower()
    if not tag:
        raise ValueError("must not contain an empty tag")
    if len(tag) > TAG_LENGTH:
        raise ValueError(f"{shown(tag)} has more than {TAG_LENGTH} characters")
    if not _TAG.fullmatch(tag):
        raise ValueError(f"{shown(tag)} is not a tag: letters, digits and . _ : @ / + # - with single spaces only")
    return tag


def read_email(raw: object) -> str:
    """An address as people write it, in small letters."""
    if not isinstance(raw, str):
        raise ValueError("must be text")  # noqa: TRY004 - likewise
    email = unicodedata.normalize("NFKC", raw).strip().casefold()
    if len(email) > EMAIL_LENGTH or not email.isprintable() or not _EMAIL.fullmatch(email):
        raise ValueError("must be an email address, such as ada@example.com")
    refuse_secret(raw)  # as in a tag
    return email


def read_note(raw: object) -> str:
    """A text of 1 to 1,000 characters, perhaps of several lines."""
    if not isinstance(raw, str):
        raise ValueError("must be text")  # noqa: TRY004 - likewise
    note = unicodedata.normalize("NFC", raw).replace("\r\n", "\n").strip()
    if not note:
        raise ValueError("must not be empty; null is none")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in _LINES for c in note):
        raise ValueError("must not contain control characters")
    if len(note) > NOTE_LENGTH:
        raise ValueError(f"must have at most {NOTE_LENGTH:,} characters, not {len(note):,}")
    refuse_secret(note)
    return note


def _entries(raw: object) -> object:
    if not isinstance(raw, list | tuple):
        raise ValueError("must be a list of texts")  # noqa: TRY004 - likewise
    if len(raw) > MOST_TAGS:
        raise ValueError(f"must have at most {MOST_TAGS} entries, not {len(raw)}")
    return list(raw)


Tag = Annotated[str, BeforeValidator(read_tag), Field(min_length=1, max_length=TAG_LENGTH)]
Tags = Annotated[list[Tag], BeforeValidator(_entries), Field(max_length=MOST_TAGS), AfterValidator(each_once)]
Email = Annotated[str, BeforeValidator(read_email), Field(min_length=3, max_length=EMAIL_LENGTH)]
Note = Annotated[str, BeforeValidator(read_note), Field(min_length=1, max_length=NOTE_LENGTH)]

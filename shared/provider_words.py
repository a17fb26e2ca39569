"""A provider's own sentence in an error, without any part of the credential that it was sent."""

import contextlib
import json
import re

from shared.secret_text import MASK, masked

_LONGEST_WORDS = 300
_PIECE = 8  # characters of a credential of which more are never told than are shown anyway


def words_of(document: object, credential: str) -> str:
    """The sentence in an error of any of the three dialects; empty where there is none."""
    if isinstance(document, list) and document:
        document = document[0]
    error = document.get("error") if isinstance(document, dict) else None
    said = error.get("message") if isinstance(error, dict) else error
    said = said.replace(credential, MASK) if credential and isinstance(said, str) else said
    shown = " ".join(said.split()) if isinstance(said, str) else ""
    # Some repeat a part of what they were sent.
    for piece in {credential[start : start + _PIECE] for start in range(len(credential) - _PIECE + 1)}:
        if piece in shown:
            shown = re.sub(rf"\S*{re.escape(piece)}\S*", MASK, shown)
    return shown


def without(message: str, credential: str) -> str:
    """What may be shown of a message: cut only after the credential is out of it, half of which nobody recognises."""
    shown = masked(message.replace(credential, MASK) if credential else message)
    shown = "".join(c for c in shown if c.isprintable())
    return shown if len(shown) <= _LONGEST_WORDS else f"{shown[:_LONGEST_WORDS].rstrip()}..."


def sentence_in(body: object, credential: str) -> str:
    """The same of an error as it came, ready to be shown; `body` may be anything."""
    if not isinstance(body, bytes):
        return ""
    with contextlib.suppress(ValueError, RecursionError):
        return without(words_of(json.loads(body), credential), credential)
    return ""

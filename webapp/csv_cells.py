"""Cells of a CSV file that a spreadsheet takes for text, whatever somebody named a key.

A cell that begins with one of a few signs is a formula to Excel, LibreOffice or Google Sheets, and a formula can send
away what stands beside it (OWASP: CSV Injection). An apostrophe before it makes it text. Where a semicolon or a tab
separates, as in half of Europe, a cell also begins in the middle of what was written as one.
"""

import json
import unicodedata
from collections.abc import Iterator, Mapping

_SIGNS = frozenset("=+-@|%")
# A comma is none of them: a text with one is written in quotes, and whoever separates by commas heeds those.
_SEPARATORS = frozenset(";|\t\r\n")


def defused(cell: str) -> str:
    """The cell as a spreadsheet shows it and does not compute it. For text only: a negative number is none."""
    parts: list[str] = []
    done = 0
    for start in _formulas(cell):
        parts += cell[done:start], "'"
        done = start
    return "".join((*parts, cell[done:]))


def json_cell(fields: Mapping[str, object] | None) -> str:
    """Fields as JSON in which nothing separates: JSON's own escapes change no text, as an apostrophe would."""
    if fields is None:
        return ""
    text = json.dumps(fields, ensure_ascii=False)
    return "".join(f"\\u{ord(sign):04x}" if _plain(sign) in _SEPARATORS else sign for sign in text)


def _formulas(cell: str) -> Iterator[int]:
    """Where a cell begins that would be a formula: at the start, and behind each separator."""
    start, is_blank = 0, True
    for place, character in enumerate(cell):
        plain = _plain(character)
        if is_blank and not _is_nothing(plain):
            is_blank = False
            if plain[:1] in _SIGNS:
                yield start
        if plain in _SEPARATORS:
            start, is_blank = place + 1, True


def _plain(character: str) -> str:
    """Full-width and other compatible forms as some programs fold them to ASCII."""
    return unicodedata.normalize("NFKC", character)


def _is_nothing(plain: str) -> bool:
    """What some look behind: what is not seen, and the quotes that are written around a cell."""
    return all(
        character == '"' or character.isspace() or unicodedata.category(character) in ("Cc", "Cf")
        for character in plain
    )

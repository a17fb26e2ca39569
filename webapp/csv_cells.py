"""Cells of a CSV file that a spreadsheet takes for text, whatever somebody named a key.

A cell that begins with one of a few signs is a formula to Excel, LibreOffice or Google Sheets, and a formula can send
away what stands beside it (OWASP: CSV Injection). An apostrophe before it makes it text.
"""

import unicodedata

# As typed; a list separator or a tab at the beginning lets what follows it begin a cell of its own.
_SIGNS = frozenset("=+-@|%;\t\r\n")


def defused(cell: str) -> str:
    """The cell as a spreadsheet shows it and does not compute it. For text only: a negative number is none."""
    # Also behind what looks like nothing, and in full-width and other compatible forms, which some fold to ASCII.
    plain = unicodedata.normalize("NFKC", cell)
    start = next((character for character in plain if not _is_nothing(character)), "")
    return f"'{cell}" if plain[:1] in _SIGNS or start in _SIGNS else cell


def _is_nothing(character: str) -> bool:
    return character not in _SIGNS and (character.isspace() or unicodedata.category(character) in ("Cc", "Cf"))

"""docs/guarantees.md names the tests that there are, and all of these."""

import re
from pathlib import Path

TESTS = Path(__file__).parent.parent
PAGE = TESTS.parent / "docs" / "guarantees.md"
TOOLS = {
    "test_what_is_right_passes",
    "test_what_is_wrong_is_found",
    "test_the_clock_is_really_set",
    "test_the_fullest_minute_is_found",
    "test_the_most_at_once_are_found",
    "test_every_test_stands_on_the_page",
}  # tests of the tests


def names_in(folder: Path) -> set[str]:
    text = "\n".join(path.read_text(encoding="utf-8") for path in folder.rglob("test_*.py"))
    return set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))


def test_every_test_stands_on_the_page() -> None:
    told = set(re.findall(r"`(test_\w+)`", PAGE.read_text(encoding="utf-8")))
    assert told <= names_in(TESTS)
    assert names_in(TESTS / "faults") - TOOLS <= told

"""FINDINGS S15: cells that a spreadsheet would compute."""

import pytest

from webapp.csv_cells import defused

FORMULA = "=HYPERLINK(A1)"


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "|cmd", "%0A=1", ";=1+1", "\t=1", "\r=1", "\n=1",
        " =1", "\u00a0=1", "\ufeff=1", "\u200b=1", "\u202e=1", "\0=1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM", "\ufe62 1", " ;=1",
    ],
)  # fmt: skip
def test_it_works(cell: str) -> None:
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "backend-prod", "a=b", "gpt-4o*", "100 %", "'=1", "Größe", "1;2", "(=1)", "\U0001f511 key"]
)
def test_what_is_no_formula_stays(cell: str) -> None:
    assert defused(cell) == cell

"""FINDINGS S15: cells that a spreadsheet would compute."""

import csv
import io
import json

import pytest

from webapp.csv_cells import defused, json_cell

FORMULA = "=HYPERLINK(A1)"


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "|cmd", "%0A=1",
        " =1", "\u00a0=1", "\ufeff=1", "\u200b=1", "\u202e=1", "\0=1", "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM", "\ufe62 1", '"=1',
    ],
)  # fmt: skip
def test_it_works(cell: str) -> None:
    assert defused(cell) == f"'{cell}"


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (";=1+1", ";'=1+1"),
        ("y;=1+1", "y;'=1+1"),
        ("a; =1;b;\u200b@c", "a;' =1;b;'\u200b@c"),
        ("x\t=1", "x\t'=1"),
        ("x\n-1", "x\n'-1"),
        ("x\r\n+1", "x\r\n'+1"),
        ('x;"=1', "x;'\"=1"),
        ("x\uff1b\uff1d1", "x\uff1b'\uff1d1"),
        ("x\u037e=1", "x\u037e'=1"),
        ("=a;=b", "'=a;'=b"),
        ("x|=1", "x|'=1"),
    ],
)
def test_behind_a_separator(cell: str, told: str) -> None:
    assert defused(cell) == told


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize(
    "cell", ["y;=1+1", "x\t=1", 'x;"=1', '"a";=1', '";=1', "a,b;=1", "x\r\n@1", "|=1", "; \t=1", '"\t"+1']
)
def test_no_cell_of_a_whole_line_is_a_formula(separator: str, cell: str) -> None:
    """As programs read it that separate by something else than we do."""
    written = io.StringIO()
    csv.writer(written).writerow(("key", defused(cell), json_cell({"name": cell}), 1))
    for cells in csv.reader(io.StringIO(written.getvalue(), newline=""), delimiter=separator):
        assert [cell for cell in cells if cell.strip(' "\t')[:1] in tuple("=+-@")] == []


@pytest.mark.parametrize("name", ["y;=1+1", "a|-b", "x\t=1", "=1", "\uff1b=1", "Größe"])
def test_json_says_what_it_said(name: str) -> None:
    assert json.loads(defused(json_cell({"name": name, "spent": -5}))) == {"name": name, "spent": -5}


@pytest.mark.parametrize(
    "cell",
    [
        "",
        "backend-prod",
        "a=b",
        "gpt-4o*",
        "100 %",
        "'=1",
        "Größe",
        "1;2",
        "(=1)",
        "a;b-c",
        'a"=1',
        "a\tb",
        "\U0001f511 key",
    ],
)
def test_what_is_no_formula_stays(cell: str) -> None:
    assert defused(cell) == cell

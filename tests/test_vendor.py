"""What is vendored is what its makers published, named, licensed, and nothing more."""

import gzip
import hashlib
import tomllib
from pathlib import Path

import pytest

VENDOR = Path(__file__).parent.parent / "static" / "vendor"
FILES = tomllib.loads((VENDOR / "VENDOR.toml").read_text(encoding="utf-8"))["file"]


@pytest.mark.parametrize("entry", FILES, ids=lambda entry: entry["name"])
def test_it_works(entry: dict[str, str]) -> None:
    content = (VENDOR / entry["name"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == entry["sha256"]
    assert gzip.decompress((VENDOR / f"{entry['name']}.gz").read_bytes()) == content
    assert entry["version"] in entry["name"]
    assert {"package", "version", "path", "licence", "licence_file"} <= entry.keys()


def test_nothing_else_lies_there() -> None:
    expected = {"VENDOR.toml"}
    for entry in FILES:
        expected |= {entry["name"], f"{entry['name']}.gz", entry["licence_file"]}
    assert {path.name for path in VENDOR.iterdir()} == expected


def test_licences_are_texts() -> None:
    for entry in FILES:
        text = (VENDOR / entry["licence_file"]).read_text(encoding="utf-8")
        assert "Permission" in text
        assert "AS IS" in text


@pytest.mark.parametrize(
    ("name", "most"),
    [("app.css", 8), ("lists.css", 4), ("app.js", 6), ("errors.js", 4), ("drafts.js", 6)],
)
def test_our_own_files_stay_small(name: str, most: int) -> None:
    assert (VENDOR.parent / name).stat().st_size < most * 1024

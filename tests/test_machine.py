"""A part of the machine that is missing skips a test for a newcomer and fails it in CI."""

from collections.abc import Callable
from pathlib import Path

import pytest
from machine import find, made

MISSING = {"redis": ("no-such-program",)}


def test_it_works(require: Callable[[str], str]) -> None:
    assert require is find
    assert find("shell", {"shell": ("no-such-program", "sh")}).endswith("/sh")
    assert find("redis", MISSING, {"ROUTER_TEST_REDIS": "valkey"}) == "valkey"


def test_missing_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match="redis is not installed"):
        find("redis", MISSING, {})


def test_what_was_not_made_is_skipped_or_fails_likewise(tmp_path: Path) -> None:
    assert made("a folder", tmp_path, {}) == str(tmp_path)
    with pytest.raises(pytest.skip.Exception, match="a client: run `make clients`"):
        made("a client", tmp_path / "client", {})
    with pytest.raises(pytest.fail.Exception, match="ROUTER_TEST_REQUIRE"):
        made("a client", tmp_path / "client", {"ROUTER_TEST_REQUIRE": "all"})


def test_missing_fails_where_all_is_asked_for() -> None:
    with pytest.raises(pytest.fail.Exception, match="ROUTER_TEST_REQUIRE"):
        find("redis", MISSING, {"ROUTER_TEST_REQUIRE": "all"})

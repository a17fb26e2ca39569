"""Security events are lines: one each, bounded, without secrets and without what could forge another line."""

import logging
import re
from pathlib import Path

import pytest

from shared.keys import PROXY_TAG, mint
from webapp.events import LINES_A_SECOND, LINES_AT_ONCE, SecurityEvents


class Steady:
    """A steady clock, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Steady:
    return Steady()


@pytest.fixture
def events(clock: Steady) -> SecurityEvents:
    return SecurityEvents(clock)


def test_it_works(events: SecurityEvents, caplog: pytest.LogCaptureFixture) -> None:
    assert events.note("role_refused", ip="192.0.2.1", user="usr_1", token=None)
    (record,) = caplog.records
    assert record.getMessage() == "event=role_refused count=1 ip=192.0.2.1 user=usr_1"
    assert record.levelno == logging.WARNING


def test_a_flood_is_counted_and_not_written(
    events: SecurityEvents, clock: Steady, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        events.note("token_refused")
    assert events.counts["token_refused"] == 1000
    assert len(caplog.records) == LINES_AT_ONCE
    assert events.note("login_refused")
    clock.now += 1 / LINES_A_SECOND
    assert events.note("token_refused")
    assert not events.note("token_refused")
    assert caplog.records[-1].getMessage() == f"event=token_refused count=1001 unsaid={1000 - int(LINES_AT_ONCE)}"
    clock.now += 3600
    assert [events.note("token_refused") for _ in range(30)].count(True) == LINES_AT_ONCE


def test_a_fact_is_one_word_and_no_secret(events: SecurityEvents, caplog: pytest.LogCaptureFixture) -> None:
    raw = mint(PROXY_TAG).raw
    events.note("unknown_id", path=f"/keys/{raw}/edit\n event=forged \x1b[31m", who="x" * 1000)
    said = caplog.records[0].getMessage()
    assert raw not in said
    assert said.count("event=") == 1
    assert said.isprintable()
    assert len(said) < 400


def test_every_kind_is_told() -> None:
    root = Path(__file__).parents[2]
    told = set(re.findall(r"`(\w+)`", (root / "docs" / "security.md").read_text(encoding="utf-8")))
    kinds = set()
    for path in (root / "webapp").rglob("*.py"):
        kinds |= set(re.findall(r'(?:note_event|EVENTS\.note)\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    assert len(kinds) > 10
    assert kinds <= told

"""What workers hold, as their journals tell it, read on from look to look."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_kit import DAY, attempt, settlement

from proxyd.accounting import frames
from proxyd.accounting.journal import SEGMENT_BYTES, Journal
from proxyd.accounting.open_holds import OpenHolds
from shared.counters import Hold


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


def hold(key_id: str, day: int, nanos: int, requests: int = 1) -> Hold:
    return Hold(key_id, day, nanos, requests, "org_1")


def held(holds: OpenHolds, journal: Journal) -> list[Hold]:
    return holds.of([journal.worker_id])[journal.worker_id]


def test_it_works(journal: Journal) -> None:
    holds = OpenHolds(journal.directory)
    assert held(holds, journal) == []
    journal.begin([(seq, attempt(seq, held_nanos=seq)) for seq in (1, 2, 4)])
    assert held(holds, journal) == [hold("key_1", DAY, 7, 3)]
    journal.end(2, settlement())
    journal.begin([(5, attempt(5, held_nanos=9, key_id="key_2")), (6, attempt(6, held_nanos=3, day=DAY + 1))])
    expected = [hold("key_1", DAY, 5, 2), hold("key_1", DAY + 1, 3), hold("key_2", DAY, 9)]
    assert held(holds, journal) == expected
    assert held(OpenHolds(journal.directory), journal) == expected
    for seq in (1, 4, 5, 6):
        journal.end(seq, None)
    assert held(holds, journal) == []


def test_what_the_counters_were_not_asked_about_is_not_held(journal: Journal) -> None:
    holds = OpenHolds(journal.directory)
    assert held(holds, journal) == []
    journal.begin([(1, attempt(1, held_nanos=0, second=-1))])
    assert held(holds, journal) == held(OpenHolds(journal.directory), journal) == []


def test_what_costs_nothing_is_one_of_the_requests_in_flight(journal: Journal) -> None:
    holds = OpenHolds(journal.directory)
    journal.begin([(1, attempt(1, held_nanos=0))])
    assert held(holds, journal) == held(OpenHolds(journal.directory), journal) == [hold("key_1", DAY, 0)]


def test_a_worker_that_is_gone_is_forgotten(journal: Journal) -> None:
    holds = OpenHolds(journal.directory)
    journal.begin([(1, attempt(1))])
    assert held(holds, journal)
    assert holds.of([]) == {}
    assert holds._cursors == {}


@pytest.mark.parametrize("look", [True, False])
def test_over_many_segments(journal: Journal, look: bool) -> None:
    """One is open all the time, and written again when its segment is old."""
    holds = OpenHolds(journal.directory)
    journal.begin([(1, attempt(1, held_nanos=5))])
    seq = 1
    while journal._segment < 8:
        seq += 1
        journal.begin([(seq, attempt(seq, held_nanos=3))])
        if look and not seq % 500:
            assert held(holds, journal) == [hold("key_1", DAY, 8, 2)]
        journal.end(seq, settlement())
    assert seq * 400 > SEGMENT_BYTES
    assert held(holds, journal) == [hold("key_1", DAY, 5)]


def test_a_record_that_is_being_written_is_read_later(journal: Journal) -> None:
    holds = OpenHolds(journal.directory)
    journal.begin([(1, attempt(1, held_nanos=5))])
    path = next(journal.directory.glob("*.journal"))
    whole, position = path.read_bytes(), journal._position
    journal.begin([(2, attempt(2, held_nanos=7))])
    after = path.read_bytes()
    path.write_bytes(after[: position + 40] + whole[position + 40 :])
    assert held(holds, journal) == [hold("key_1", DAY, 5)]
    path.write_bytes(after)
    assert held(holds, journal) == [hold("key_1", DAY, 12, 2)]


@settings(max_examples=50)
@given(number=st.integers(1, 2**53), seq=st.integers(0, 2**53), cost=st.none() | st.integers(0, 2**52))
def test_which_attempt_has_ended_is_read_without_the_rest(number: int, seq: int, cost: int | None) -> None:
    from proxyd.accounting.records import EndRecord

    settled = None if cost is None else settlement(cost_nanos=cost)
    record = EndRecord(number, seq, attempt(key_id="key[1"), settled)
    (frame,) = frames.frames(frames.end(0, record), 0, 0)
    assert frames.read_ended(frame.content) == seq

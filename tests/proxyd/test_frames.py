"""Records of the journal as bytes."""

import pytest
from ledger_kit import attempt, ended, settlement

from proxyd.accounting import frames
from proxyd.accounting.records import EndRecord

SEED = frames.crc_seed("01WORKER.1")
ROOM = b"\0" * 4096


def whole(data: bytes, seed: int = SEED) -> list[frames.Frame]:
    return list(frames.frames(data, seed, 0))


def test_it_works() -> None:
    data = frames.header(SEED, 1, 0) + frames.begin(SEED, 7, attempt(7)) + frames.progress(SEED, 7, 55)
    record = EndRecord(1, 7, attempt(7), settlement(flags=("estimated", "overrun")))
    data += frames.end(SEED, record)
    head, begun, noted, end = whole(data + ROOM)
    assert [frame.kind for frame in (head, begun, noted, end)] == [b"H", b"B", b"P", b"E"]
    assert frames.read_header(head.content) == (frames.FORMAT, 1, 0)
    assert frames.read_begin(begun.content) == (7, attempt(7))
    assert frames.read_progress(noted.content) == (7, 55)
    assert frames.read_end(end.content) == record
    assert end.next_position == len(data)


@pytest.mark.parametrize(
    "record",
    [
        ended(2, cost_nanos=None),
        ended(3, requested_model=None, client_ip=None, second=-1),
        ended(4, requested_model="nul\0 and 模型"),
        ended(7, trace_parent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        EndRecord(5, 5, attempt(), settlement(price=None, served_model=None, status=None, usage={})),
        EndRecord(6, 6, attempt(bound_nanos=2**53 - 1), settlement(cost_nanos=2**53 - 1)),
    ],
)
def test_every_end_comes_back_as_it_was(record: EndRecord) -> None:
    (frame,) = whole(frames.end(SEED, record) + ROOM)
    assert frames.read_end(frame.content) == record


def test_what_is_cut_short_anywhere_is_not_there_and_no_damage() -> None:
    first, second = frames.begin(SEED, 1, attempt(1)), frames.end(SEED, ended(1))
    for cut in range(len(second)):
        data = first + second[:cut] + ROOM
        (frame,) = whole(data)
        assert frame.next_position == len(first)
        frames.check_rest(data, SEED, len(first))


def test_nothing_is_whole_in_a_piece_that_ends_too_early() -> None:
    data = frames.begin(SEED, 1, attempt(1))
    for cut in range(len(data)):
        assert whole(data[:cut]) == []
        frames.check_rest(data[:cut], SEED, 0)


def test_a_changed_byte_anywhere_in_a_record_is_damage() -> None:
    first, second = frames.begin(SEED, 1, attempt(1)), frames.begin(SEED, 2, attempt(2))
    for position in range(len(first)):
        data = bytearray(first + second + ROOM)
        data[position] ^= 0x41
        found = whole(bytes(data))
        assert found == []
        with pytest.raises(frames.Damaged):
            frames.check_rest(bytes(data), SEED, 0)


def test_anything_after_the_first_length_of_zero_is_damage() -> None:
    data = frames.begin(SEED, 1, attempt(1))
    end = len(data)
    for gap in (4, 8, 100, 4095):
        later = data + ROOM[:gap] + b"x" + ROOM
        assert len(whole(later)) == 1
        with pytest.raises(frames.Damaged) as caught:
            frames.check_rest(later, SEED, end)
        assert caught.value.position == end


def test_records_of_another_segment_do_not_fit_in() -> None:
    data = frames.begin(frames.crc_seed("01WORKER.2"), 1, attempt(1)) + ROOM
    assert whole(data) == []
    with pytest.raises(frames.Damaged):
        frames.check_rest(data, SEED, 0)


def test_a_piece_that_begins_later_tells_positions_of_the_segment() -> None:
    first, second = frames.begin(SEED, 1, attempt(1)), frames.begin(SEED, 2, attempt(2))
    (frame,) = frames.frames(second + ROOM, SEED, len(first), base=len(first))
    assert frame.next_position == len(first) + len(second)


def test_zeros_are_no_damage() -> None:
    frames.check_rest(b"", SEED, 0)
    frames.check_rest(ROOM, SEED, 0)
    assert whole(ROOM) == []

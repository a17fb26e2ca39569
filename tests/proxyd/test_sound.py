"""How long a file of sound is: to the sample where its bytes say so, and no word where they leave a doubt."""

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxyd.wire.sound import MAX_FRAMES, seconds_of


def wav(seconds: float, hertz: int = 16_000, channels: int = 1, width: int = 2) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((channels, width, hertz, 0, "NONE", ""))
        file.writeframes(b"\0" * (int(seconds * hertz) * channels * width))
    return made.getvalue()


# Frames by hand: head, kbit/s, samples, Hz.
FRAME_1 = (b"\xff\xfb\x90\x00", 128, 1_152, 44_100)  # MPEG 1, layer III
PADDED_1 = (b"\xff\xfb\x92\x00", 128, 1_152, 44_100)
FRAME_2 = (b"\xff\xf3\x84\xc4", 64, 576, 24_000)  # MPEG 2, as speech is made
FRAME_25 = (b"\xff\xe3\x18\x00", 8, 576, 8_000)  # MPEG 2.5


def frame(kind: tuple[bytes, int, int, int]) -> bytes:
    head, kbits, samples, hertz = kind
    size = samples * 125 * kbits // hertz + (head[2] >> 1 & 1)
    return head + b"\0" * (size - 4)


@pytest.mark.parametrize(
    ("hertz", "channels", "width"), [(8_000, 1, 1), (16_000, 1, 2), (44_100, 2, 2), (48_000, 2, 3)]
)
def test_it_works(hertz: int, channels: int, width: int) -> None:
    assert seconds_of(wav(2.5, hertz, channels, width)) == 2.5


def test_a_wave_is_as_long_as_its_bytes_and_not_as_its_head_says() -> None:
    said = wav(1)
    assert seconds_of(said + b"\0" * 32_000) == 2
    assert seconds_of(said.replace(b"data", b"LIST\x04\0\0\0abcddata")) == 1
    assert seconds_of(said.replace(b"fmt \x10\0\0\0\x01", b"fmt \x10\0\0\0\x02")) is None  # compressed
    assert seconds_of(said[:30]) is None
    assert seconds_of(said.replace(b"fmt ", b"junk")) is None


@pytest.mark.parametrize("kind", [FRAME_1, PADDED_1, FRAME_2, FRAME_25])
def test_an_mp3_is_as_long_as_its_frames(kind: tuple[bytes, int, int, int]) -> None:
    _, _, samples, hertz = kind
    assert seconds_of(frame(kind) * 100) == pytest.approx(100 * samples / hertz)


def test_a_changing_bit_rate_tags_before_and_behind() -> None:
    low = (b"\xff\xfb\x10\x00", 32, 1_152, 44_100)
    tag = b"ID3\x03\x00\x00\x00\x00\x01\x00" + b"\0" * 128
    sound = (frame(FRAME_1) + frame(low) * 3) * 10
    assert seconds_of(tag + sound) == pytest.approx(40 * 1_152 / 44_100)
    # What stands behind might be 8 kbit/s.
    assert seconds_of(tag + sound + b"TAG" + b"\0" * 125) == pytest.approx(40 * 1_152 / 44_100 + 0.128)


@pytest.mark.parametrize(
    "between", [frame((b"\xff\xfb\x94\x00", 128, 1_152, 48_000)), frame(FRAME_2), b"\xff\xfb\x90\x02", b"\0"]
)
def test_frames_that_are_not_alike_leave_a_doubt(between: bytes) -> None:
    """A decoder may pass over what it does not take for a frame, and find others within it."""
    assert seconds_of(frame(FRAME_1) * 200 + between + frame(FRAME_1) * 200) is None


def test_two_heads_of_one_wave_leave_a_doubt() -> None:
    said = wav(1)
    head = said[said.index(b"fmt ") : said.index(b"data")]
    assert seconds_of(said.replace(head, head + head)) is None


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\xff", b"RIFF", b"fLaC" + b"\0" * 100, b"OggS" + b"\0" * 100, b"\xff\xfb", b"ID3", b"ID3\x03" + b"\x7f" * 20,
        frame(FRAME_1) + b"\0" * 100_000,  # what may be frames that nobody here finds
        b"ID3\x03\0\0\0\0\0\x80" + frame(FRAME_1), b"\xff\xfb\xf0\x00" * 100, b"\xff\xfb\x00\x00" * 100, b"\xff\xfb\x9c\x00" * 100,
        frame(FRAME_25) * (MAX_FRAMES + 1),
    ],
)  # fmt: skip
def test_what_leaves_a_doubt_is_not_told(data: bytes) -> None:
    assert not seconds_of(data)


@given(st.sampled_from((b"RIFF\0\0\0\0WAVE", b"ID3", b"\xff\xfb", b"\xff\xf3\x84", b"")), st.binary(max_size=300))
def test_no_bytes_make_it_fail(start: bytes, rest: bytes) -> None:
    seconds = seconds_of(start + rest)
    assert seconds is None or seconds >= 0

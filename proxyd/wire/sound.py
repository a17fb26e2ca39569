"""How long a file of sound is, where its bytes say so beyond doubt: PCM in WAVE, and MP3 frame by frame.

For answers that tell nothing of the sound's length. What a head merely claims is no answer here: of WAVE the same
figures decide how a decoder reads the samples, and of MP3 every frame is counted.
"""

import struct

MAX_FRAMES = 50_000  # of MP3, some 20 minutes; counting them takes about 20 ms
_TRAILER_BYTES = 64 * 1024  # of tags behind the last frame

_PCM = (1, 3)  # whole numbers, and floating point
_WAVE_HEAD = struct.Struct("<4sI4s")
_CHUNK = struct.Struct("<4sI")
_FORMAT = struct.Struct("<HHIIHH")

# ISO/IEC 11172-3 and 13818-3, layer III: kbit/s and Hz by the index in a frame's head.
_RATES_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_RATES_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_HERTZ = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


def seconds_of(data: bytes) -> float | None:
    """The length of a file; None: it is of another kind, or leaves a doubt."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _of_wave(data)
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and len(data) > 1 and data[1] & 0xE6 == 0xE2):
        return _of_mp3(data)
    return None


def _of_wave(data: bytes) -> float | None:
    """All that is behind the head of the samples counts as samples."""
    at, bytes_per_second = _WAVE_HEAD.size, 0
    while at + _CHUNK.size <= len(data):
        name, size = _CHUNK.unpack_from(data, at)
        at += _CHUNK.size
        if name == b"data":
            return (len(data) - at) / bytes_per_second if bytes_per_second else None
        if name == b"fmt ":
            if size < _FORMAT.size or at + _FORMAT.size > len(data):
                return None
            tag, channels, hertz, _, _, bits = _FORMAT.unpack_from(data, at)
            bytes_per_second = channels * hertz * bits // 8 if tag in _PCM else 0
        at += size + size % 2
    return None


def _of_mp3(data: bytes) -> float | None:
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        at = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
    total, end = 0.0, len(data) - 4
    for _ in range(MAX_FRAMES):
        if at > end:
            return total or None
        second, third = data[at + 1], data[at + 2]
        version = second >> 3 & 3
        kbits = (_RATES_1 if version == 3 else _RATES_2)[third >> 4] if third < 0xF0 else 0
        hertz = third >> 2 & 3
        if data[at] != 0xFF or second & 0xE6 != 0xE2 or version == 1 or not kbits or hertz == 3:
            return total if total and len(data) - at <= _TRAILER_BYTES else None
        samples = 1_152 if version == 3 else 576
        rate = _HERTZ[version][hertz]
        at += samples * 125 * kbits // rate + (third >> 1 & 1)
        total += samples / rate
    return None

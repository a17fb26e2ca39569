"""How long a file of sound is, where its bytes say so beyond doubt: PCM in WAVE, and MP3 frame by frame.

The law of this module: no decoder finds more sound in a file than is told here. So what a head merely claims is no
answer: of WAVE only the figures by which samples are read count, and all that follows is samples; of MP3 every frame is
counted, all alike, nothing may stand between them, and what stands behind counts as sound of the lowest rate.
"""

import struct

MAX_FRAMES = 100_000  # of MP3, some 40 minutes; counting them takes about 40 ms
_TRAILER_BYTES = 64 * 1024  # of tags behind the last frame
_SLOWEST_BYTES = 1_000  # of a second of MP3: 8 kbit/s

_PCM = {1: (8, 16, 24, 32), 3: (32, 64)}  # bits of a sample: whole numbers, and floating point
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
            if bytes_per_second or size < _FORMAT.size or at + _FORMAT.size > len(data):
                return None  # two of them may mean either
            tag, channels, hertz, _, _, bits = _FORMAT.unpack_from(data, at)
            bytes_per_second = channels * hertz * bits // 8 if bits in _PCM.get(tag, ()) else 0
        at += size + size % 2
    return None


def _of_mp3(data: bytes) -> float | None:
    at = 0
    if data[:3] == b"ID3":
        if len(data) < 10 or any(byte & 0x80 for byte in data[6:10]):
            return None
        at = 10 + (data[6] << 21 | data[7] << 14 | data[8] << 7 | data[9])
    if len(data) < at + 4:
        return None
    version, hertz = data[at + 1] >> 3 & 3, data[at + 2] >> 2 & 3
    if version == 1 or hertz == 3:
        return None
    alike = data[at + 1] & 0xFE  # but for the bit that says whether there is a checksum
    rate, kbits_by_index = _HERTZ[version][hertz], _RATES_1 if version == 3 else _RATES_2
    samples, frames, end = 1_152 if version == 3 else 576, 0, len(data) - 4
    while at <= end and frames < MAX_FRAMES:
        third = data[at + 2]
        strange = data[at] != 0xFF or data[at + 1] & 0xFE != alike or alike & 0xE6 != 0xE2 or data[at + 3] & 3 == 2
        if strange or not 0x10 <= third < 0xF0 or third >> 2 & 3 != hertz:
            break
        at += samples * 125 * kbits_by_index[third >> 4] // rate + (third >> 1 & 1)
        frames += 1
    behind = max(0, len(data) - at)
    if not frames or behind > _TRAILER_BYTES or (frames == MAX_FRAMES and behind):
        return None
    return frames * samples / rate + behind / _SLOWEST_BYTES

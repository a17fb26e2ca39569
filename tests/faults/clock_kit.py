"""A wall clock that a test may set, for whole processes: libfaketime, of Debian's package of that name.

Only what CLOCK_REALTIME says is changed; the clocks that cannot step on a machine do not step here either.
"""

import os
from pathlib import Path

import pytest

_PLACES = (*Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), Path("/usr/local/lib/faketime/libfaketimeMT.so.1"))


class WallClock:
    """Offsets are seconds against the true time; processes that are started with `environ` follow at once."""

    def __init__(self, directory: Path) -> None:
        library = next((path for path in _PLACES if path.exists()), None)
        if library is None:
            if os.environ.get("ROUTER_TEST_REQUIRE") == "all":
                pytest.fail("libfaketime is not installed, and ROUTER_TEST_REQUIRE=all asks for it")
            pytest.skip("libfaketime is not installed")
        self._file = directory / "wall-clock"
        self.set(0)
        self.environ = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_DONT_RESET": "1",
            # Else a thread that waits for the interpreter's lock, which is by the monotonic clock, does not sleep: where
            # a worker has two threads it takes 25 times as long for what it does.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "PYTHONPATH": str(Path(__file__).parent / "clocked"),
        }

    def set(self, offset_seconds: float) -> None:
        offset_seconds = round(offset_seconds, 3)
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{offset_seconds:+.3f}\n")
        draft.replace(self._file)
        self.offset_seconds = offset_seconds

"""Lines for whoever collects logs, written by a thread: who hands them over waits for no disk and no reader.

What is not taken in time is dropped and counted. A file that was moved away, as log rotation does, is made anew.
"""

import logging
import os
import threading
import time
from pathlib import Path
from queue import Full, Queue

log = logging.getLogger(__name__)

MOST_WAITING = 64  # hand-overs
CLOSE_SECONDS = 2.0
LOG_SECONDS = 60.0


class LineOutput:
    """Appends to a file, or writes to the standard output of whoever started the router."""

    def __init__(self, path: Path | None, standard_output: int = 1) -> None:
        """`standard_output` is the descriptor that is written to without a path."""
        self._path = path
        self._file = standard_output if path is None else -1
        self._waiting: Queue[list[bytes] | None] = Queue(MOST_WAITING)  # None: there are no more
        self._told_at = float("-inf")
        self.dropped = 0  # lines
        self._thread = threading.Thread(target=self._run, name="request log", daemon=True)
        self._thread.start()

    def put(self, lines: list[bytes]) -> None:
        """Have lines written, each without its end."""
        try:
            self._waiting.put_nowait(lines)
        except Full:
            self._drop(lines, "nobody takes them")

    def close(self) -> None:
        """Write what is left, for a bounded time."""
        try:
            self._waiting.put(None, timeout=CLOSE_SECONDS)
        except Full:
            return
        self._thread.join(CLOSE_SECONDS)

    def _run(self) -> None:
        while (lines := self._waiting.get()) is not None:
            try:
                self._write(b"".join([line + b"\n" for line in lines]))
            except OSError as error:
                self._drop(lines, (error.strerror or "").lower())

    def _write(self, data: bytes) -> None:
        if self._path is not None and not self._is_current(self._path):
            if self._file >= 0:
                os.close(self._file)
                self._file = -1
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        while data:
            data = data[os.write(self._file, data) :]

    def _is_current(self, path: Path) -> bool:
        """Whether the file that is open is still the one at the path."""
        try:
            return self._file >= 0 and os.path.samestat(os.fstat(self._file), path.stat())
        except FileNotFoundError:
            return False

    def _drop(self, lines: list[bytes], why: str) -> None:
        self.dropped += len(lines)
        at = time.monotonic()
        if at - self._told_at >= LOG_SECONDS:
            self._told_at = at
            log.warning("lines of the request log are dropped (%d so far): %s", self.dropped, why)

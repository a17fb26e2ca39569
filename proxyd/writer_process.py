"""The ledger writer as the supervisor sees it: a child that is there before the first worker and after the last one.

It is run anew, not forked: it shares no socket, no event loop and no lock of the supervisor's.
"""

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

log = logging.getLogger(__name__)

OUTPUT_VARIABLE = "PROXYD_OUTPUT"  # names the descriptor of our standard output in its environment

START_SECONDS = 45.0  # it waits for the database and for one before it to end
STOP_SECONDS = 15.0
LONGEST_PAUSE_SECONDS = 5.0
SHORT_LIFE_SECONDS = 10.0
_POLL_SECONDS = 0.02

COMMAND = (sys.executable, "-m", "proxyd.writer")


class WriterProcess:
    """Started, kept, ended. Used by the supervisor alone."""

    def __init__(self, command: Sequence[str] = COMMAND) -> None:
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = False
        self._not_before = 0.0
        self._pause_seconds = 0.0
        self._spawned_at = 0.0

    def start(self) -> int:
        """Start it and wait until everything may begin; its exit status when it ends instead, else 0."""
        self._spawn()
        deadline = time.monotonic() + START_SECONDS
        while not self.ready:
            process = self._process
            assert process is not None  # noqa: S101 - it was made a moment ago
            status = process.poll()
            if status is not None:
                return status or 1
            if time.monotonic() > deadline:
                sys.stderr.write("proxyd: the ledger writer did not begin in time.\n")
                self.stop()
                return 1
            time.sleep(_POLL_SECONDS)
        return 0

    @property
    def pid(self) -> int:
        return 0 if self._process is None else self._process.pid

    @property
    def ready(self) -> bool:
        """Whether workers may be started: it runs and has looked at what there is."""
        process = self._process
        if process is None or process.returncode is not None:
            return False
        if not self._ready and process.stdout is not None:
            try:
                self._ready = b"ready" in (os.read(process.stdout.fileno(), 64) or b"")
            except BlockingIOError:
                pass
        return self._ready

    def keep(self) -> None:
        """Start it again when it has ended. To be called every second."""
        process = self._process
        if process is not None and process.poll() is None:
            return
        if process is not None:
            log.error("the ledger writer has ended and is started again")
            self._process = None
            # Not at once again: one that died young will most likely do so again. Workers wait for it meanwhile.
            young = time.monotonic() - self._spawned_at < SHORT_LIFE_SECONDS
            self._pause_seconds = min(LONGEST_PAUSE_SECONDS, self._pause_seconds * 2 or 0.1) if young else 0.0
            self._not_before = time.monotonic() + self._pause_seconds
        if time.monotonic() >= self._not_before:
            self._spawn()

    def renew(self) -> None:
        """End it, so that `keep` starts one with new settings."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Let it bring home what the workers left, and end it."""
        process = self._process
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _spawn(self) -> None:
        self._ready = False
        self._spawned_at = time.monotonic()
        # Its standard output is a pipe on which it tells that it is ready; lines for operators go where ours go.
        output = os.dup(1)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                pass_fds=(output,),
                env={**os.environ, OUTPUT_VARIABLE: str(output)},
            )
        finally:
            os.close(output)
        assert self._process.stdout is not None  # noqa: S101 - asked for above
        os.set_blocking(self._process.stdout.fileno(), False)

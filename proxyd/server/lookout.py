"""Whether a client that nobody reads from at the moment is still there.

While a request is answered, what its client sends beyond it stays in the kernel. It hides the end behind it from
reading, but not from `poll`, until the receive window is full: then not even the kernel hears of the end. Nobody sends
so much ahead of an answer who wants the answer, so it is thrown away, and the connection with it when the answer is
over.
"""

import fcntl
import select
import socket
import struct
import termios
from collections.abc import Callable
from typing import Any

from gevent.monkey import get_original

SECONDS = 0.25  # between two looks
AHEAD_BYTES = 32 * 1024  # that may wait for their turn; half of the smallest window that Linux gives by default
THROWN_BYTES = 4 * 1024 * 1024  # of one look: a full window is empty within a second
_PIECE_BYTES = 256 * 1024

_native_poll: Callable[[], Any] = get_original("select", "poll")


class Lookout:
    """Looks after one socket, by a timer in the event loop. `ended` is called once, in the hub."""

    __slots__ = ("_ended", "_socket", "_timer", "threw_away")

    def __init__(self, loop: Any, sock: socket.socket, ended: Callable[[], None]) -> None:
        self._socket = sock
        self._ended = ended
        self.threw_away = False  # what came after the request is not known any more
        self._timer = loop.timer(SECONDS, SECONDS, ref=False)
        self._timer.start(self._look)

    def stop(self) -> None:
        """Look no more; idempotent."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.stop()
            timer.close()

    def _look(self) -> None:
        if self._waiting_bytes() >= AHEAD_BYTES:
            self._throw_away()
        poll = _native_poll()
        poll.register(self._socket.fileno(), select.POLLRDHUP)
        if poll.poll(0):
            self.stop()
            self._ended()

    def _waiting_bytes(self) -> int:
        return int(struct.unpack("i", fcntl.ioctl(self._socket.fileno(), termios.FIONREAD, b"\0" * 4))[0])

    def _throw_away(self) -> None:
        self.threw_away = True
        for _ in range(THROWN_BYTES // _PIECE_BYTES):
            try:
                if not self._socket.recv(_PIECE_BYTES):
                    return
            except OSError:
                return  # Nothing more at the moment, or for ever: `poll` tells which.

"""One end of a session: frames over a connection, read by one greenlet and written by several in turn."""

from time import monotonic
from typing import Protocol

from gevent.lock import BoundedSemaphore

from proxyd.channel import Cancelled, Expired
from proxyd.wire.websocket import Piece, WebSocket

FAILURES = (OSError, Expired, Cancelled)
STALL_SECONDS = 60.0  # without the peer taking a byte
PING_SECONDS = 30.0  # of silence, after which the peer is asked whether it is there
DEAD_SECONDS = 75.0  # of silence, after which it is taken to be gone, whatever TCP says


class LinkBroken(Exception):
    """The connection of this side has ended, or takes and gives nothing any more."""

    def __init__(self, link: "Link") -> None:
        super().__init__()
        self.link = link


class Stream(Protocol):
    """The connection below."""

    def recv(self, size: int) -> bytes: ...
    def send_all(self, data: bytes, stall_seconds: float) -> None: ...


class Link:
    """Whoever writes takes all that waits to be written, so that frames leave in the order in which they were made."""

    def __init__(self, stream: Stream, socket: WebSocket, first: bytes, receive_bytes: int) -> None:
        """`first` is what was read of the connection already; `receive_bytes` of it are looked at in one go."""
        self._stream = stream
        self._socket = socket
        self._first = first
        self._receive_bytes = receive_bytes
        self._writing = BoundedSemaphore(1)
        self._asked = False
        self.heard_at = monotonic()

    @property
    def closed(self) -> tuple[int, str] | None:
        """Why the peer has closed; None: it has not."""
        return self._socket.closed_by_peer

    @property
    def open(self) -> bool:
        """Whether messages can be sent."""
        return self._socket.open

    @property
    def waiting_bytes(self) -> int:
        """How much of an incomplete frame is kept."""
        return self._socket.waiting_bytes

    def pieces(self) -> list[Piece] | None:
        """Wait for frames; None: no more will come. Raises LinkBroken."""
        if not self._first and (self.closed is not None or self._socket.failed):
            return None
        try:
            data, self._first = self._first or self._stream.recv(self._receive_bytes), b""
        except FAILURES:
            raise LinkBroken(self) from None
        self.heard_at, self._asked = monotonic(), False
        if not data:
            self._socket.receive_end()
            return None
        pieces = self._socket.receive(data)
        self.flush()
        return pieces

    def send(self, piece: Piece) -> bool:
        """Send a frame; False when the connection is closing already. Raises LinkBroken."""
        if not self._socket.send(piece):
            return False
        self.flush()
        return True

    def close(self, code: int, reason: str) -> None:
        """Begin to close, if that has not begun. Raises LinkBroken."""
        self._socket.close(code, reason)
        self.flush()

    def flush(self) -> None:
        """Write what waits to be written. Raises LinkBroken."""
        with self._writing:
            data = self._socket.take()
            if data:
                try:
                    self._stream.send_all(data, STALL_SECONDS)
                except FAILURES:
                    raise LinkBroken(self) from None

    def is_dead(self, now: float) -> bool:
        """Whether the peer has been silent for too long."""
        return now - self.heard_at > DEAD_SECONDS

    def wants_ping(self, now: float) -> bool:
        """Whether it is time to ask the peer for a sign of life; once a silence."""
        wanted = now - self.heard_at > PING_SECONDS and not self._asked and not self._writing.locked()
        self._asked = self._asked or wanted
        return wanted

    def ping(self) -> None:
        """Ask the peer for a sign of life."""
        self._socket.ping()
        self.flush()

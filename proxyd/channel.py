"""One non-blocking connection as greenlets see it: read when there is something, write it all, be interruptible.

The law of this module: a channel's read watcher is started once and stays started, so that a request costs no call to
epoll and the end of an idle or busy connection is noticed without asking. Deadlines are plain numbers that a watchdog
looks at a few times a second, so that they cost nothing either. Whoever waits is woken by data, by its deadline
(`Expired`), or by somebody who has no more use for the connection (`Cancelled`).

gevent's own sockets do the same with two calls to epoll and a timer for each wait; that was half of our time.
This file opens no socket: `server` and `upstream` bring theirs.
"""

from contextlib import suppress
from math import inf
from time import monotonic
from typing import Any, Protocol

from gevent import get_hub
from greenlet import getcurrent, greenlet

READ, WRITE = 1, 2  # libev's names for what a watcher looks out for


class Expired(Exception):
    """The deadline of the channel passed while a greenlet waited on it."""


class Cancelled(Exception):
    """`cancel()` was called on the channel."""


class Transport(Protocol):
    """A non-blocking socket, or TLS over one: raises `BlockingIOError` where it would have to wait.

    After `send` raised `BlockingIOError` it must be called again with the same bytes first.
    """

    def recv(self, size: int, /) -> bytes: ...
    def send(self, data: bytes | memoryview, /) -> int: ...
    def fileno(self) -> int: ...
    def close(self) -> None: ...


class Channel:
    """A connection. One greenlet may read while another writes."""

    __slots__ = (
        "_blocked",
        "_cancelled",
        "_expired",
        "_hub",
        "_read_watcher",
        "_reader",
        "_unsent",
        "_watching",
        "_write_watcher",
        "_writer",
        "closed",
        "deadline",
        "eager",
        "transport",
    )

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.deadline = inf  # by time.monotonic()
        self.closed = False
        self.eager = False  # the transport may hold bytes that the kernel knows nothing of, as TLS does
        self._hub = get_hub()
        self._reader: greenlet | None = None
        self._writer: greenlet | None = None
        self._expired = False
        self._cancelled = False
        self._watching = False
        self._unsent = b""  # what leaves with the others of this turn, or what of it found no room
        self._blocked = 0.0  # it found no room: for how many seconds its writer waits for some
        self._read_watcher = self._hub.loop.io(transport.fileno(), READ)
        self._write_watcher: Any = None

    def arm(self, seconds: float) -> None:
        """Set the deadline for what is waited for from now on."""
        self._expired = False
        self.deadline = monotonic() + seconds

    def disarm(self) -> None:
        """Lift the deadline."""
        self._expired = False
        self.deadline = inf

    def recv(self, size: int) -> bytes:
        """Wait for bytes and give at most `size` of them; b"" at the end. Raises OSError, Expired, Cancelled."""
        if self.eager:
            self._check()
            try:
                return self.transport.recv(size)
            except BlockingIOError:
                pass
        while True:
            try:
                self.wait_readable()
            except Expired:
                # It may be our loop that was late and not the peer: what has arrived meanwhile counts.
                try:
                    return self.transport.recv(size)
                except BlockingIOError:
                    raise Expired from None
            try:
                return self.transport.recv(size)
            except BlockingIOError:
                continue

    def send_all(self, data: bytes | memoryview, stall_seconds: float) -> None:
        """Write all of `data`. Raises OSError, Cancelled, and Expired when no byte could leave for `stall_seconds`.

        Uses the deadline for itself when it has to wait, and lifts it then. What was held back leaves before.
        """
        if self._unsent:
            data = self._unsent + bytes(data)
            self._unsent, self._blocked = b"", 0.0
        try:
            sent = self.transport.send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return
        rest = memoryview(data)[sent:]
        while rest:
            self.arm(stall_seconds)
            self.wait_writable()
            try:
                rest = rest[self.transport.send(rest) :]
            except BlockingIOError:
                continue
        self.disarm()

    def hold_back(self, data: bytes) -> None:
        """Keep what is to be sent until `send_now` is called, or something else is sent, or the channel is closed."""
        self._unsent += data

    def send_now(self, stall_seconds: float) -> None:
        """Send what was held back. Called in the hub.

        Who waits to read here sends what finds no room, and is told by `Cancelled` of what fails.
        """
        data = self._unsent
        if not data:
            return  # It left before something else, or the channel is closed.
        try:
            sent = self.transport.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._unsent = b""
            self._cancelled = True
            self.wake()
            return
        self._unsent = data[sent:]
        if self._unsent:
            self._blocked = stall_seconds
            self.wake()

    def flush(self, stall_seconds: float) -> None:
        """Send what was held back, as `send_all` does."""
        if self._unsent:
            self.send_all(b"", stall_seconds)

    @property
    def sending(self) -> bool:
        """Whether what is to be sent finds no room at the moment."""
        return self._writer is not None or self._blocked > 0

    def wait_readable(self) -> None:
        """Wait until reading is worth a try. Raises Expired, Cancelled."""
        if self._cancelled or self._expired or self._blocked:
            self._check()
        if not self._watching:
            self.watch()
        self._reader = getcurrent()
        try:
            self._hub.switch()
        finally:
            self._reader = None
        if self._cancelled or self._expired or self._blocked:
            self._check()

    def wait_writable(self) -> None:
        """Wait until writing is worth a try. Raises Expired, Cancelled."""
        self._check()
        if self._write_watcher is None:
            self._write_watcher = self._hub.loop.io(self.transport.fileno(), WRITE)
        self._writer = getcurrent()
        self._write_watcher.start(self._on_writable)
        try:
            self._hub.switch()
        finally:
            self._writer = None
            if self._write_watcher is not None:
                self._write_watcher.stop()
        self._check()

    def watch(self) -> None:
        """Look out for bytes; `unread` is called for some that arrive while nobody waits for them."""
        if not self._watching and not self.closed:
            self._watching = True
            self._read_watcher.start(self._on_readable)

    def unread(self) -> None:
        """Hook, called in the hub: bytes or the end arrived unasked for. The channel has stopped watching."""

    def expire(self) -> None:
        """Wake whoever waits with `Expired`. Called in the hub, by the watchdog."""
        self._expired = True
        self.deadline = inf
        self.wake()

    def cancel(self) -> None:
        """Make every wait, running or to come, raise `Cancelled`. May be called from the hub or any greenlet."""
        if not self._cancelled and not self.closed:
            self._cancelled = True
            self._hub.loop.run_callback(self.wake)

    def wake(self) -> None:
        """Let whoever waits look again. To be called in the hub."""
        reader, writer = self._reader, self._writer
        self._reader = self._writer = None
        if reader is not None:
            reader.switch()
        if writer is not None and writer is not reader:
            writer.switch()

    def close(self) -> None:
        """Close the connection; idempotent. Whoever still waits on it is woken with `Cancelled`.

        What is held back is sent as far as there is room.
        """
        if self.closed:
            return
        self.closed = True
        if self._unsent:
            with suppress(OSError):
                self.transport.send(self._unsent)
            self._unsent, self._blocked = b"", 0.0
        self._cancelled = True
        self.deadline = inf
        self._read_watcher.stop()
        self._read_watcher.close()
        if self._write_watcher is not None:
            self._write_watcher.stop()
            self._write_watcher.close()
            self._write_watcher = None
        self.transport.close()
        if self._reader is not None or self._writer is not None:
            self._hub.loop.run_callback(self.wake)

    def _check(self) -> None:
        if self._cancelled:
            raise Cancelled
        if self._expired:
            raise Expired
        if self._blocked:
            began, deadline = monotonic(), self.deadline
            try:
                self.send_all(b"", self._blocked)
            except (OSError, Expired):
                # Nothing may follow what left by half, whatever is waited for here.
                self._cancelled = True
                raise Cancelled from None
            self.deadline = deadline + monotonic() - began

    def _on_readable(self) -> None:
        reader = self._reader
        if reader is not None:
            self._reader = None
            reader.switch()
        else:
            # Nobody wants it now. The level-triggered watcher would call again and again: stop until somebody does.
            self._watching = False
            self._read_watcher.stop()
            self.unread()

    def _on_writable(self) -> None:
        writer = self._writer
        if writer is not None:
            self._writer = None
            writer.switch()

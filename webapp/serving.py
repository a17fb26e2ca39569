"""How the dashboard is served: `gunicorn --config webapp/serving.py wsgi:app`.

Every connection has a greenlet, so one that is silent or slow costs a few kilobytes and no thread. A request is handed
to the app when all of it is here; what the client is waited for has an end, and when connections run short, the oldest
one that waits for its client is closed. So nobody without a login can shut the others out.

gunicorn loads this file by its path, in the process that supervises the workers. It must import nothing of ours there:
workers make the standard library cooperative before they load the app, and what was imported earlier would not be.
"""

import errno
import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any

import gevent
from gevent.event import Event
from gevent.lock import BoundedSemaphore
from gevent.pool import Pool
from gevent.server import StreamServer
from gevent.threadpool import ThreadPool
from gunicorn.arbiter import Arbiter
from gunicorn.workers.ggevent import GeventWorker

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

# For a head, from the connection's first moment or the end of the request before it. Also how long one is kept idle.
HEAD_SECONDS = 10
BODY_SECONDS = 30.0
WRITE_SECONDS = 30.0  # without a byte being taken
MOST_CONNECTIONS = 400  # a worker
# Bodies that are longer are read a few at a time: forms are short, and what is read is in memory.
SMALL_BODY_BYTES = 65_536
LARGE_BODIES = 16
STATEMENT_THREADS, HASH_THREADS = 10, 2  # a hash takes 64 MiB
MOST_HASHES_WAITING = 32
CALL_SECONDS, MOST_CALLS = 10.0, 4  # to a provider, when somebody tests the connection
MOST_SIGN_INS = 32  # at the same moment at the provider through which people log in
_DESCRIPTORS = 4096

# What gunicorn reads of this module, by its own names.
wsgi_app = "wsgi:app"
workers = 2
worker_connections = MOST_CONNECTIONS
keepalive = HEAD_SECONDS
timeout = 30  # a worker whose loop stands still for so long is replaced
graceful_timeout = 20
loglevel = "warning"
sendfile = False  # it would pass the deadlines by
forwarded_allow_ips = ""  # the app itself judges X-Forwarded-*
control_socket_disable = True

# gunicorn ends when a worker's exit status says that the app cannot be loaded, and falls over a second worker that says
# so meanwhile. So one of them says it: whoever finds the byte in this pipe, which all workers have.
_GIVES_UP = (Arbiter.WORKER_BOOT_ERROR, Arbiter.APP_LOAD_ERROR)
_turn, _turns = os.pipe()
os.set_blocking(_turn, False)
os.write(_turns, b"1")


def worker_exit(_server: Arbiter, _worker: GeventWorker) -> None:
    """Called by gunicorn in a worker that ends, while the reason is on its way."""
    error = sys.exc_info()[1]
    if isinstance(error, SystemExit) and error.code in _GIVES_UP:
        try:
            os.read(_turn, 1)
        except BlockingIOError:
            sys.exit(1)


class Line:
    """A client's socket, as gunicorn uses it; each wait for the client has an end."""

    def __init__(self, client: Any) -> None:
        self._socket = client
        self.body_until: float | None = None  # by the steady clock; None while no body is read
        self.served = False  # the app is at work on its request
        self.answered = False  # what it said may still be on its way to the client
        self.ended = False  # nothing more is read from it

    @property
    def idle(self) -> bool:
        """Whether nothing was asked on it that is not answered."""
        return not (self.served or self.answered or self.body_until)

    def recv(self, size: int) -> bytes:
        self.answered = False
        if self.ended:
            return b""
        # Heads are waited for in gunicorn's own time, `keepalive`.
        self._socket.settimeout(None if self.body_until is None else max(0.001, self.body_until - time.monotonic()))
        found: bytes = self._socket.recv(size)
        return found

    def send(self, data: bytes) -> int:
        self._socket.settimeout(WRITE_SECONDS)
        sent: int = self._socket.send(data)
        return sent

    def sendall(self, data: bytes) -> None:
        """All of it, in pieces, each of which the client has to take in time."""
        view = memoryview(data)
        try:
            while view:
                view = view[self.send(view[:SMALL_BODY_BYTES]) :]  # type: ignore[arg-type] # a view is as good
        except TimeoutError:
            # For gunicorn the same as a client that left, which is nothing to write down.
            raise BrokenPipeError(errno.EPIPE, "the client did not take the answer in time") from None

    def hang_up(self) -> None:
        """Wake up whoever waits for the client: there is nothing more to come."""
        self.ended = True
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the client was faster

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


class DashboardWorker(GeventWorker):  # type: ignore[misc] # gunicorn publishes no types
    """gunicorn's gevent worker with a bound on everything that a client can take its time for."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._lines: dict[Line, None] = {}  # in the order in which they came
        self._told_to_stop: Event | None = None
        self.wsgi: WSGIApplication  # set by `load_wsgi`

    def load_wsgi(self) -> None:
        """Load the app, everything cooperative by now, and give its long work to threads."""
        from flask import Flask  # noqa: PLC0415 - see above: not before this moment

        from webapp import MAX_BODY_BYTES, passwords  # noqa: PLC0415
        from webapp.alerting import loop  # noqa: PLC0415
        from webapp.offload import OFFLOAD, TooBusy  # noqa: PLC0415

        super().load_wsgi()
        OFFLOAD.statements = partial(_in_a_thread, ThreadPool(STATEMENT_THREADS))
        hashes, waiting = ThreadPool(HASH_THREADS), BoundedSemaphore(MOST_HASHES_WAITING)

        def hashed(function: Callable[..., Any], *arguments: Any) -> Any:
            if not waiting.acquire(blocking=False):
                raise TooBusy
            try:
                return _in_a_thread(hashes, function, *arguments)
            finally:
                waiting.release()

        OFFLOAD.hashes = hashed
        OFFLOAD.calls = partial(_called, BoundedSemaphore(MOST_CALLS))
        OFFLOAD.sign_ins = partial(_called, BoundedSemaphore(MOST_SIGN_INS))
        if isinstance(self.wsgi, Flask):
            loop.start(self.wsgi)
        passwords.unknown_hash()  # else the first login of somebody who does not exist would take twice the time
        self.wsgi = WholeRequests(self.wsgi, MAX_BODY_BYTES)

    def run(self) -> None:
        """Serve until told to stop; then finish what is under way, and wait for nobody who has not asked anything."""
        self._told_to_stop = Event()
        servers = []
        for listener in self.sockets:
            listener.setblocking(1)
            # Larger than the number of lines, so that one more can come in and the oldest be closed for it.
            pool = Pool(MOST_CONNECTIONS + 32)
            server = StreamServer(listener, handle=partial(self.handle, listener), spawn=pool)
            server.max_accept = 1  # the rest is for the other workers
            server.start()
            servers.append(server)
        while self.alive:
            self.notify()
            self._told_to_stop.wait(1.0)
        for server in servers:
            server.close()
        deadline = time.monotonic() + self.cfg.graceful_timeout
        while self._lines and time.monotonic() < deadline:
            self._hang_up([line for line in self._lines if line.idle])
            self.notify()
            gevent.sleep(0.05)

    def handle_exit(self, sig: int, frame: Any) -> None:
        super().handle_exit(sig, frame)
        if self._told_to_stop is not None:
            self._told_to_stop.set()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        line = Line(client)
        self._lines[line] = None
        if len(self._lines) > MOST_CONNECTIONS:
            # If all of them are being served there is nobody to close, and the pool holds back who comes next.
            self._hang_up([one for one in self._lines if not one.served and one is not line][:1])
        try:
            super().handle(listener, line, addr)
        finally:
            del self._lines[line]

    @staticmethod
    def _hang_up(lines: Iterable[Line]) -> None:
        for line in lines:
            line.hang_up()


class WholeRequests:
    """Hands a request to the app when its body is here, and tells the app in the environment when it will not come."""

    def __init__(self, app: "WSGIApplication", most_bytes: int) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._large = BoundedSemaphore(LARGE_BODIES)

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        line: Line = environ["gunicorn.socket"]
        if (refusal := self._read(environ, line)) is not None:
            line.ended = True  # what is still to come of the body is no request
            environ["webapp.refusal"] = refusal
            environ["wsgi.input"] = BytesIO()
            environ["CONTENT_LENGTH"] = "0"
        line.served = True
        try:
            return self._app(environ, start_response)
        finally:
            line.served, line.answered = False, True

    def _read(self, environ: "WSGIEnvironment", line: Line) -> int | None:
        """Read the body; a status if it is not to be had. One that is too long is left to the app, which refuses it."""
        declared = environ.get("CONTENT_LENGTH")
        if not declared and "HTTP_TRANSFER_ENCODING" not in environ:
            return None
        length = int(declared) if declared else self._most_bytes
        if length > self._most_bytes:
            return None
        large = length > SMALL_BODY_BYTES
        if large and not self._large.acquire(blocking=False):
            return 503
        line.body_until = time.monotonic() + BODY_SECONDS
        try:
            # One byte more than is allowed, to know of more.
            body = environ["wsgi.input"].read(self._most_bytes + 1)
        except TimeoutError:
            return 408
        finally:
            line.body_until = None
            if large:
                self._large.release()
        if declared and len(body) < length:
            return 400  # the client left before all of it was said
        if len(body) > self._most_bytes:
            return 413  # the app would take the beginning for all of it
        environ.pop("HTTP_TRANSFER_ENCODING", None)
        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        return None


def _called(calling: BoundedSemaphore, function: Callable[..., Any], *arguments: Any) -> Any:
    """The call in the greenlet that asks: it waits cooperatively, and however it waits there is an end."""
    from webapp.offload import TooBusy, TookTooLong  # noqa: PLC0415 - as in `load_wsgi`

    if not calling.acquire(blocking=False):
        raise TooBusy
    try:
        with gevent.Timeout(CALL_SECONDS, TookTooLong):
            return function(*arguments)
    finally:
        calling.release()


def _in_a_thread(pool: ThreadPool, function: Callable[..., Any], *arguments: Any) -> Any:
    found, error = pool.apply(_caught, (function, *arguments))
    if error is not None:
        raise error
    return found


def _caught(function: Callable[..., Any], *arguments: Any) -> tuple[Any, BaseException | None]:
    """The result or the error. The pool would print the trace of one that is raised, and a wrong password is one."""
    try:
        return function(*arguments), None
    except BaseException as error:  # noqa: BLE001 - it is raised again where the result is waited for
        return None, error


def _raise_descriptors() -> None:
    """A connection takes one, a file of the counters three more; the usual soft limit is 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < _DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_DESCRIPTORS, hard), hard))


worker_class = DashboardWorker
_raise_descriptors()

"""Where Prometheus asks: `/metrics` on a port of its own, answered by threads beside the ledger writer's work."""

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from socketserver import TCPServer, ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.registry import Collector

from proxyd.monitoring.part import Part
from shared.config import Bind

log = logging.getLogger(__name__)

PATH = "/metrics"
ASK_SECONDS = 10.0  # for a question to come, and for its answer to be taken
RETRY_SECONDS = 1.0
MOST_AT_ONCE = 16  # answers
WAIT_SECONDS = 1.0  # for one of them to end; then who came is sent away
LOG_SECONDS = 60.0


class MetricsEndpoint(Part):
    """Listens as soon as the address is free, and tries again while it is not: the ledger is not to wait for that."""

    def __init__(self, bind: Bind, collector: Collector, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._bind = bind
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        self._metrics = make_wsgi_app(registry)
        self._monotonic = monotonic
        self._server: _Server | None = None
        self._tried_at = self._told_at = float("-inf")

    @property
    def address(self) -> Bind | None:
        """Where it listens; None: it does not yet."""
        return None if self._server is None else Bind(self._bind.host, self._server.server_port)

    def keep(self) -> None:
        """Listen, if it is time to try."""
        at = self._monotonic()
        if self._server is not None or at - self._tried_at < RETRY_SECONDS:
            return
        self._tried_at = at
        try:
            server = _Server(self._bind)
        except OSError as error:
            if at - self._told_at >= LOG_SECONDS:
                self._told_at = at
                log.warning("no metrics at %s, which is tried again: %s", self._bind, error.strerror)
            return
        server.set_app(self._answer)
        threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
        self._server = server

    def close(self) -> None:
        """Listen no more, so that the next one may."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
            return [f"Metrics are at {PATH}.\n".encode()]
        answer: Iterable[bytes] = self._metrics(environ, start_response)
        return answer


class _Handler(WSGIRequestHandler):
    timeout = ASK_SECONDS

    def log_message(self, *_: object) -> None:
        """Who scrapes every few seconds is nothing to tell."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 16

    def __init__(self, bind: Bind) -> None:
        self.address_family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
        self._room = threading.Semaphore(MOST_AT_ONCE)
        super().__init__((bind.host, bind.port), _Handler)

    def server_bind(self) -> None:
        """Without the look-up of a name by the base class, which may take as long as a name server likes."""
        TCPServer.server_bind(self)
        host, self.server_port = self.server_address[:2]
        self.server_name = str(host)
        self.setup_environ()

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(timeout=WAIT_SECONDS):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, _: object, __: object) -> None:
        """Who asked has left, or took too long."""

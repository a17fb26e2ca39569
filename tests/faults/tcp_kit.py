"""A wire between the router and PostgreSQL that can be slow, and can break right after a COMMIT was carried out."""

import contextlib
import socket
import threading
import time
from pathlib import Path

_COMMIT = b"COMMIT"
_BYTES = 65_536


class Wire:
    """Listens on TCP, leads to the server's socket file. Attributes may be changed while it runs."""

    def __init__(self, server: Path) -> None:
        self.delay_seconds = 0.0  # of every answer
        self.cut_commits = 0  # so many answers to a COMMIT are not delivered: the connection is cut in their place
        self.cut = 0
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        committing = threading.Event()
        with client, socket.socket(socket.AF_UNIX) as server:
            with contextlib.suppress(OSError):
                server.connect(str(self._server))
                answers = threading.Thread(target=self._answer, args=(client, server, committing), daemon=True)
                answers.start()
                self._ask(client, server, committing)
                answers.join()

    @staticmethod
    def _ask(client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(_BYTES):
                if _COMMIT in data:
                    committing.set()
                server.sendall(data)
        _end(client, server)

    def _answer(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(_BYTES):
                if committing.is_set() and _COMMIT in data:
                    committing.clear()
                    if self.cut_commits > 0:
                        self.cut_commits -= 1
                        self.cut += 1
                        break
                time.sleep(self.delay_seconds)
                client.sendall(data)
        _end(client, server)


def _end(*sockets: socket.socket) -> None:
    for one in sockets:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)

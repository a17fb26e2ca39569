"""A wire between clients and the proxy that keeps what went over it, so that a test can count a client's attempts."""

import contextlib
import re
import socket
import threading
from urllib.parse import urlsplit

_HEAD = re.compile(rb"(?:POST|GET) \S+ HTTP/1\.1\r\n(?:[^\r\n]+\r\n)+\r\n")


class CountingRelay:
    """Listens on a port of its own and passes everything on."""

    def __init__(self, target_url: str) -> None:
        address = urlsplit(target_url)
        self._target = (address.hostname or "", address.port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sent: list[bytearray] = []  # by clients, a connection each
        threading.Thread(target=self._accept, daemon=True).start()

    def requests_with(self, secret: str) -> int:
        """How many requests carried this key."""
        heads = [head for sent in self._sent for head in _HEAD.findall(bytes(sent))]
        return sum(secret.encode() in head for head in heads)

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                sent = bytearray()
                self._sent.append(sent)
                threading.Thread(target=self._serve, args=(client, sent), daemon=True).start()

    def _serve(self, client: socket.socket, sent: bytearray) -> None:
        """One connection, to the end of both of its sides."""
        with client, socket.create_connection(self._target) as proxy:
            back = threading.Thread(target=_carry, args=(proxy, client, bytearray()), daemon=True)
            back.start()
            _carry(client, proxy, sent)
            back.join()


def _carry(source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            kept += data
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

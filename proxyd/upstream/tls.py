"""TLS to a provider, over a socket that never blocks.

The law of this module: certificates are verified against the system's and certifi's roots, the name is checked, and
nothing older than TLS 1.2 is spoken. Only a close_notify is an end (RFC 8446, section 6.1): a connection that is closed
without one may have been cut by anybody on the way. OpenSSL works on memory here; what it wants to read or write goes
through the same non-blocking socket that a plain connection uses.
"""

import socket
import ssl

import certifi

RECORD_BYTES = 16 * 1024


def default_context() -> ssl.SSLContext:
    """Make the context for all providers: roots, host name check, TLS >= 1.2, HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=certifi.where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # A system's openssl.cnf may want a cut connection to be reported as one that was closed properly.
    context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    return context


class TlsTransport:
    """Implements `channel.Transport`: TLS as a client of `host`."""

    __slots__ = ("_encrypted", "_incoming", "_outgoing", "_socket", "_taken", "_tls")

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._socket = sock
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self._encrypted = b""  # what OpenSSL made of the data being sent and the socket did not take yet
        self._taken = 0  # bytes of that data

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done, False when more must be read from the socket first.

        Raises `ssl.SSLError`, OSError, and `BlockingIOError` when more must be written first.
        """
        while True:
            self._flush()
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._encrypted += self._outgoing.read()
                self._flush()
                return False
            except ssl.SSLError:
                self._encrypted += self._outgoing.read()  # the alert that tells the other side why
                self._flush()
                raise
            if not self._outgoing.pending:
                return True
            self._encrypted += self._outgoing.read()

    def fill(self) -> None:
        """Read from the socket for the handshake. Raises `BlockingIOError`, OSError."""
        data = self._socket.recv(RECORD_BYTES)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def recv(self, size: int, /) -> bytes:
        while True:
            try:
                return self._tls.read(size)
            except ssl.SSLWantReadError:
                self.fill()
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLEOFError as error:
                raise ConnectionError("The TLS connection was cut") from error
            except ssl.SSLError as error:
                raise ConnectionError("The TLS connection is broken") from error

    def send(self, data: bytes | memoryview, /) -> int:
        if not self._encrypted:
            self._taken = self._tls.write(memoryview(data)[: 4 * RECORD_BYTES])
            self._encrypted = self._outgoing.read()
        self._flush()
        return self._taken

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def _flush(self) -> None:
        """Write what is encrypted, in one try: a caller that sees an OSError at once knows that nothing left."""
        if self._encrypted:
            self._encrypted = self._encrypted[self._socket.send(self._encrypted) :]
            if self._encrypted:
                raise BlockingIOError

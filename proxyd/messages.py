"""Values that every layer of the data plane may hold, and the errors that cross its borders.

Header names are lower-case bytes throughout, so that a comparison is a comparison. Nothing here does I/O.
"""

from collections.abc import Callable, Iterator
from operator import itemgetter
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

Header = tuple[bytes, bytes]
Headers = tuple[Header, ...]
MAX_PLANNED_NAMES = 60  # what is concluded from the names of more headers is not kept: they are rare, and large

# Of a header, for `map`, which asks for those of all headers without a call of Python's.
name_of: Callable[[Header], bytes] = itemgetter(0)
value_of: Callable[[Header], bytes] = itemgetter(1)


class Client(Protocol):
    """The other end of an inbound connection, as far as the gateway may know it."""

    @property
    def peer(self) -> str:
        """The peer's address as the kernel tells it, without port; empty for a Unix socket."""

    @property
    def gone(self) -> bool:
        """True once the client closed or reset its connection (a FIN counts) while we were answering."""

    def on_gone(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` once, from the event loop, when the client goes away; None withdraws it.

        The callback must not block or switch greenlets. It is called at once when the client is already gone.
        """


class Tunnel(Client, Protocol):
    """A connection that speaks no HTTP any more, because a response switched it to something else (101)."""

    @property
    def draining(self) -> bool:
        """True once the server is about to end: no more should be begun on it."""

    def take_buffer(self) -> bytes:
        """What was read behind the head of the request; once."""

    def recv(self, size: int) -> bytes:
        """Wait for bytes; b"" at the end. Raises OSError, and what a channel raises when it is interrupted."""

    def send_all(self, data: bytes, stall_seconds: float) -> None:
        """Write all of it, or raise when no byte could leave for so long."""

    def cancel(self) -> None:
        """Interrupt whoever waits on it."""


class Takeover(Protocol):
    """What a connection is left to by a 101."""

    def run(self, tunnel: Tunnel) -> None:
        """Use the connection. It is closed when this returns."""

    def abandon(self) -> None:
        """Hear that it will not come: the 101 could not be written."""


class Body(Protocol):
    """The body of an inbound request, read on demand so that a refusal need not wait for it."""

    def read(self, limit_bytes: int) -> bytes:
        """Read the whole body, having answered `Expect: 100-continue` first.

        Raises `RequestTooLarge` past `limit_bytes` (before reading, when Content-Length tells), `BadRequest`
        on broken framing, `RequestTimeout` on a body that stalls, `ClientGone` on a closed connection.
        """

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        """Give the body piece by piece as it arrives, with the same errors as `read`."""

    @property
    def length(self) -> int | None:
        """Bytes by Content-Length; 0 when there is no body; None when it comes in chunks."""


class Learned(Protocol):
    """What somebody has learned from a head."""

    def forget_key(self) -> None:
        """Only the token of the credential is another one in the next request: forget what follows from it."""


class HeadCache:
    """A cache for what is learned from the head of a request alone, while its connection sends this head repeatedly.

    Whoever reads a request may put it here, and finds it with the next one. It must follow from the method, the path,
    the headers save Content-Length, and the peer. The server drops it with the connection. Where only the token of the
    credential is another one, the next request finds what does not follow from that.
    """

    __slots__ = ("info",)

    def __init__(self) -> None:
        self.info: Learned | None = None


class Request(Struct, eq=False):
    """One inbound request: its head as values, its body still on the wire."""

    method: str
    path: str  # as received, percent-encoding untouched, always starting with "/"
    query: str  # what followed "?", without it; empty when there was none
    headers: Headers  # in order, hop-by-hop ones included
    client: Client
    body: Body
    head_cache: HeadCache | None = None  # of this head; None: nothing of it is cached

    def header(self, name: bytes) -> bytes | None:
        """The first value of header `name` (lower-case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def header_values(self, name: bytes) -> list[bytes]:
        """All values of header `name` (lower-case), in order."""
        return [value for key, value in self.headers if key == name]


class Response(Struct):
    """One answer. The server frames it: it adds Content-Length or chunking, Date and Connection.

    `body` as an iterator is written piece by piece as it yields. The server closes it (`close()`) in every case:
    after the end, when the client goes away and on errors. An iterator that raises `Truncated` makes the server
    cut the connection without a clean end, so that the client can tell.
    """

    status: int
    headers: list[Header]  # neither Content-Length, Transfer-Encoding, Connection, Keep-Alive nor Date
    body: bytes | Iterator[bytes]
    length: int | None = None  # of an iterator's body in bytes, when known; None means chunked
    close: bool = False  # close the connection after this response
    prompt: bool = True  # send the head at once; False: the first piece of `body` is here already, and goes with it
    takeover: Takeover | None = None  # of a 101: what the connection is left to until it ends


class Origin(NamedTuple):
    """Where an upstream listens. A tuple, because connections are looked up by it."""

    scheme: str  # "http" or "https"
    host: str
    port: int
    authority: str  # value of the Host header
    chosen: bool = False  # by an organisation: connected to only where its address is public, or allowed besides


def origin_of(url: str) -> tuple[Origin, str]:
    """A base address as a place to connect to and the path that stands before every target."""
    address = urlsplit(url)
    port = address.port or (443 if address.scheme == "https" else 80)
    host = address.hostname or ""
    return Origin(address.scheme, host, port, address.netloc), address.path.rstrip("/")


class Outgoing(Struct):
    """One request to an upstream. `headers` has neither Host nor framing headers: `upstream.call` adds them."""

    origin: Origin
    method: str
    target: str  # path and query, ready for the request line
    headers: list[Header]
    body: bytes | Iterator[bytes]
    length: int | None = None  # of an iterator's body when known; else it is sent chunked
    lines: bytes = b""  # further headers, as `wire.http1.header_lines` writes them
    on_sent: Callable[[], None] | None = None  # of a large body: told once when it is not needed any more
    upgrade: bool = False  # `lines` ask for another protocol: a 101 is an answer, and the connection then ours

    def drop_body(self) -> None:
        """The body was sent, or never will be: somebody may be waiting for its memory."""
        if self.on_sent is not None:
            told, self.on_sent, self.body = self.on_sent, None, b""
            told()


class Incoming(Struct, frozen=True):
    """The head of an upstream's answer."""

    status: int
    headers: Headers
    length: int | None  # by Content-Length (to HEAD and in a 304 too, though no body comes); 0 for 204; else None


class Asked(NamedTuple):
    """What is known of a request whose head could not be read: enough to answer in its caller's dialect."""

    path: str  # as far as it came, without the query
    headers: Headers  # their names alone: values may be secrets


class RequestError(Exception):
    """The client's fault, found while reading its request. The text is public; `status` is the answer's."""

    status = 400
    asked: Asked | None = None  # where there is no request

    def __init__(self, text: str, *, status: int | None = None) -> None:
        super().__init__(text)
        if status is not None:
            self.status = status


class BadRequest(RequestError):
    """Malformed: 400 `invalid_request`, or what `status` says more precisely (405, 414, 417, 431, 505)."""


class RequestTooLarge(RequestError):
    """Over a size limit: 413 `request_too_large`."""

    status = 413

    def __init__(self, text: str, *, limit_bytes: int | None = None) -> None:
        super().__init__(text)
        self.limit_bytes = limit_bytes


class RequestTimeout(RequestError):
    """The rest of the request did not come in time: 408."""

    status = 408


class ClientGone(Exception):
    """The client closed its connection before its request was complete."""


class Truncated(Exception):
    """Raised out of a response body that cannot be completed; the server cuts the connection."""


class UpstreamError(Exception):
    """The provider's fault or the network's. `sent` is True once a byte of the request may have reached it."""

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail)
        self.sent = sent


class UpstreamUnreachable(UpstreamError):
    """No connection, TLS refused, or the connection broke before a complete response head: 502."""


class UpstreamTimeout(UpstreamError):
    """Too slow to connect, to answer or to go on: 504."""


class UpstreamBroken(UpstreamError):
    """The answer is not HTTP we accept, or ended early: 502, or a truncated stream once it has begun."""


class UpstreamAborted(UpstreamError):
    """We ended the call ourselves (`abort`), because the client went away."""

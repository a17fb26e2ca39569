"""The fields of a request that say to whom it goes and where its body ends."""

from functools import lru_cache

from proxyd.messages import Outgoing

BODY_METHODS = frozenset({"PATCH", "POST", "PUT"})


@lru_cache(maxsize=64)
def _host_line(authority: str) -> bytes:
    return b"host: %b\r\n" % authority.encode("ascii")


def framing(outgoing: Outgoing) -> bytes:
    """These fields, each with its CRLF."""
    host, body = _host_line(outgoing.origin.authority), outgoing.body
    length = len(body) if isinstance(body, bytes) else outgoing.length
    if length or (length == 0 and outgoing.method in BODY_METHODS):
        return b"%bcontent-length: %d\r\n" % (host, length)
    return host if length == 0 else host + b"transfer-encoding: chunked\r\n"

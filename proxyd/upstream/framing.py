"""The fields of a request that say to whom it goes and where its body ends."""

from functools import lru_cache

from proxyd.messages import Outgoing

BODY_METHODS = frozenset({"PATCH", "POST", "PUT"})


@lru_cache(maxsize=64)
def _host_line(authority: str) -> bytes:
    return b"host: %b\r\n" % authority.encode("ascii")


def framing(outgoing: Outgoing) -> bytes:
    """These fields, each with its CRLF."""
    host = _host_line(outgoing.origin.authority)
    length = len(outgoing.body) if isinstance(outgoing.body, bytes) else outgoing.length
    if length is None:
        return host + b"transfer-encoding: chunked\r\n"
    if length == 0 and outgoing.method not in BODY_METHODS:
        return host
    return host + b"content-length: %d\r\n" % length

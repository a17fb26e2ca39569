"""What the server itself says about a response: its date, and whether the connection goes on."""

import time
from email.utils import formatdate


class _Clock:
    """The Date header, made once a second."""

    second = 0
    field = b""


def bodiless(status: int, method: str) -> bool:
    """Tell whether a response has no body on the wire, whatever its length says (RFC 9112, section 6.3)."""
    return method == "HEAD" or status in (204, 304)


def connection_fields(*, keep: bool, http_11: bool) -> bytes:
    """Write Date, and Connection where it is not what this version of HTTP takes for granted."""
    now = int(time.time())
    if now != _Clock.second:
        _Clock.field = b"date: " + formatdate(now, usegmt=True).encode("ascii") + b"\r\n"
        _Clock.second = now
    if not keep:
        return _Clock.field + b"connection: close\r\n"
    return _Clock.field if http_11 else _Clock.field + b"connection: keep-alive\r\n"

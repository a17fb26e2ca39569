"""The one border between sockets, parsers and our own errors: what can go wrong with a call, and what it is called."""

from proxyd.channel import Cancelled, Expired
from proxyd.messages import UpstreamAborted, UpstreamBroken, UpstreamError, UpstreamTimeout, UpstreamUnreachable
from proxyd.wire.http1 import ProtocolError

FAILURES = (Cancelled, Expired, OSError, ProtocolError, UpstreamError)


def translated(error: Exception, host: str, slow: str, *, sent: bool, answered: bool) -> Exception:
    """Name a failure of a call to `host`. `slow` says what it did not do in time; `answered`: a head had come."""
    if isinstance(error, Cancelled):
        return UpstreamAborted("The call was ended because nobody waits for it any more", sent=sent)
    if isinstance(error, UpstreamError):
        return error
    if isinstance(error, Expired):
        return UpstreamTimeout(f"{host} {slow}", sent=sent)
    if isinstance(error, ProtocolError):
        return UpstreamBroken(f"{host}: {error}", sent=sent)
    if isinstance(error, OSError):
        if not answered:
            return UpstreamUnreachable(f"The connection to {host} broke before its answer", sent=sent)
        return UpstreamBroken(f"The connection to {host} broke in the middle of its answer", sent=sent)
    return error

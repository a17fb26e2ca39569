"""What a client may take from us: sizes, times and how many it may be. The defaults are the design's table."""

import resource

from msgspec import Struct, field

from proxyd.wire.http1 import ChunkLimits, HeadLimits

KIB = 1024
MAX_CONNECTIONS = 10_000
# Descriptors that are none of a connection's: listeners, event loop, journals, counters, database, logs, resolver.
RESERVED_DESCRIPTORS = 128
# A request takes two: the client's connection, and one to its provider.
DESCRIPTORS_A_CONNECTION = 2
FEWEST_CONNECTIONS = 16


class ServerLimits(Struct, frozen=True):
    """Limits of inbound connections; tests shorten them."""

    head: HeadLimits = field(default_factory=HeadLimits)
    chunk: ChunkLimits = field(default_factory=ChunkLimits)
    header_timeout_seconds: float = 10.0  # for a whole head, from its first byte; for a first byte, from the connection
    body_idle_seconds: float = 30.0  # between two pieces of a body
    body_grace_seconds: float = 30.0  # how far a body may fall behind its rate; what came faster before is no credit
    body_rate_bytes: int = KIB  # per second
    body_long_seconds: float = 600.0  # spent waiting for a body in all, before its average rate matters
    body_long_rate_bytes: int = 32 * KIB  # per second of that: a body of 32 MB takes half an hour at most
    write_stall_seconds: float = 60.0  # without the client taking a byte
    keep_alive_seconds: float = 75.0  # between two requests
    leave_seconds: float = 10.0  # for idle connections of a server that ends, before it closes them
    drain_bytes: int = 64 * KIB  # of an unread body, to keep the connection
    linger_bytes: int = 64 * KIB * KIB  # read and thrown away before a close, so that the answer survives
    linger_seconds: float = 2.0
    max_connections: int = MAX_CONNECTIONS
    silent_seconds: float = 1.0  # a new connection is left in peace, before it has to make room for others


def raise_descriptor_limit() -> int:
    """Take as many file descriptors as this process may have, and tell how many that is.

    The usual soft limit of 1,024 is there for programs that use `select`; who knows better is meant to raise it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (ValueError, OSError):
            return soft  # Some systems forbid what they announce.
    return hard


def connections_for(descriptors: int) -> int:
    """How many connections fit into so many descriptors."""
    if descriptors == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    fitting = (descriptors - RESERVED_DESCRIPTORS) // DESCRIPTORS_A_CONNECTION
    return max(FEWEST_CONNECTIONS, min(MAX_CONNECTIONS, fitting))

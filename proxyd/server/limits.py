"""What a client may take from us: sizes, times and how many it may be. The defaults are the design's table."""

from dataclasses import dataclass, field

from proxyd.wire.http1 import ChunkLimits, HeadLimits

KIB = 1024


@dataclass(frozen=True, slots=True)
class ServerLimits:
    """Limits of inbound connections; tests shorten them."""

    head: HeadLimits = field(default_factory=HeadLimits)
    chunk: ChunkLimits = field(default_factory=ChunkLimits)
    header_timeout_seconds: float = 10.0  # for a whole head, from its first byte; for a first byte, from the connection
    body_idle_seconds: float = 30.0  # between two pieces of a body
    body_grace_seconds: float = 30.0  # spent waiting for a body before its rate matters
    body_rate_bytes: int = KIB  # per second, after the grace
    write_stall_seconds: float = 60.0  # without the client taking a byte
    keep_alive_seconds: float = 75.0  # between two requests
    drain_bytes: int = 64 * KIB  # of an unread body, to keep the connection
    linger_bytes: int = 64 * KIB * KIB  # read and thrown away before a close, so that the answer survives
    linger_seconds: float = 2.0
    max_connections: int = 10_000

"""What requests and responses have in common: their fields, and what `Connection` means."""

import re
from operator import methodcaller
from typing import cast

from msgspec import Struct, field

from proxyd.messages import Header, Headers, name_of, value_of

# A line break that llhttp would refuse. Found before a head is complete, it saves waiting for an end that never comes.
STRAY_LINE_BREAK = re.compile(rb"(?<!\r)\n|\r[^\n]")


_stripped = methodcaller("rstrip", b" \t")  # what stands before a value is not part of it for httptools either


class Fields(Struct, eq=False):
    """Takes header fields from httptools, as they come."""

    received: list[tuple[bytes, ...]] = field(default_factory=list)

    def on_header(self, *name_and_value: bytes) -> None:
        self.received.append(name_and_value)

    def headers(self) -> tuple[tuple[bytes, ...], Headers]:
        """Their names, in lower case, and they themselves, without the whitespace around the values."""
        received = cast("list[Header]", self.received)
        names = tuple(map(bytes.lower, map(name_of, received)))
        return names, tuple(zip(names, map(_stripped, map(value_of, received)), strict=True))


def keeps_alive(connection: list[bytes], *, http_11: bool) -> bool:
    """Tell from the values of `Connection` whether the sender keeps the connection (RFC 9112, section 9.3)."""
    if not connection:
        return http_11
    if connection == [b"keep-alive"]:
        return True
    options = {option.strip(b" \t") for value in connection for option in value.lower().split(b",")}
    return b"close" not in options and (http_11 or b"keep-alive" in options)

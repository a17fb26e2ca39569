"""What requests and responses have in common: their fields, and what `Connection` means."""

import re

from msgspec import Struct, field

from proxyd.messages import Header

# A line break that llhttp would refuse. Found before a head is complete, it saves waiting for an end that never comes.
STRAY_LINE_BREAK = re.compile(rb"(?<!\r)\n|\r[^\n]")


class Fields(Struct, eq=False):
    """Takes header fields from httptools: names in lower case, values without the whitespace around them."""

    headers: list[Header] = field(default_factory=list)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(b" \t")))


def keeps_alive(connection: list[bytes], *, http_11: bool) -> bool:
    """Tell from the values of `Connection` whether the sender keeps the connection (RFC 9112, section 9.3)."""
    if not connection:
        return http_11
    if connection == [b"keep-alive"]:
        return True
    options = {option.strip(b" \t") for value in connection for option in value.lower().split(b",")}
    return b"close" not in options and (http_11 or b"keep-alive" in options)

"""A head that is sent again: clients repeat theirs on a connection byte for byte, save the digits of its length.

The law of this module: a head is recognised only if nothing but those digits differs from one that was parsed, and if
they could not change the verdict. So what is said of it is what parsing it again would say.
"""

import re
from typing import Self

from proxyd.messages import HeadMemory
from proxyd.wire.http1.request import LENGTH_LIMIT_BYTES, HeadLimits, RequestHead

# In a head that was accepted a line break ends a line, and one line at most has this name.
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)
_NAME = b"content-length"
_MAX_DIGITS = len(str(LENGTH_LIMIT_BYTES)) - 1


class RepeatedHead:
    """The latest head of a connection, with what was read in it and what the gateway has concluded from it."""

    __slots__ = ("_after", "_before", "_digits", "_place", "head", "memory")

    def __init__(self, head: RequestHead, before: bytes, digits: bytes, after: bytes) -> None:
        self.head = head
        self.memory = HeadMemory()
        self._before = before
        self._digits = digits
        self._after = after
        self._place = [name for name, _ in head.headers].index(_NAME)

    @classmethod
    def of(cls, raw: bytes, head: RequestHead, limits: HeadLimits) -> Self | None:
        """Remember `head`, parsed from `raw`; None where that is not worth it, or could be wrong.

        A query may hold a key, and changes with each request where there is one.
        """
        if head.query or head.expect_continue or not head.keep_alive:
            return None
        if len(raw) + _MAX_DIGITS > min(limits.field_bytes, limits.block_bytes):
            return None  # Other digits could make it too large.
        match = _LENGTH.search(raw)
        if match is None:
            return None
        start, end = match.span(1)
        return cls(head, raw[:start], raw[start:end], raw[end:])

    def recognises(self, raw: bytes) -> bool:
        """Tell whether `raw` is this head again; `head` then has its length."""
        before, after = self._before, self._after
        digits = raw[len(before) : -len(after)]
        if not (digits.isdigit() and raw.startswith(before) and raw.endswith(after)):
            return False
        if digits != self._digits:
            if len(digits) > _MAX_DIGITS:
                return False
            head, place = self.head, self._place
            head.headers = (*head.headers[:place], (_NAME, digits), *head.headers[place + 1 :])
            head.length = int(digits)
            self._digits = digits
        return True

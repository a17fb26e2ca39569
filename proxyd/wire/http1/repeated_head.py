"""A head that is sent again: clients repeat theirs on a connection byte for byte, save the digits of its length.

The law of this module: a head is recognised only if nothing but those digits differs from one that was parsed, and if
they could not change the verdict. So what is said of it is what parsing it again would say.
"""

from typing import Self

from proxyd.messages import HeadCache
from proxyd.wire.http1.request import LENGTH_LIMIT_BYTES, HeadLimits, RequestHead

_NAME = b"content-length"
_LINE_BEGINS = b"\r\n" + _NAME + b":"
# SDKs send less. Ten thousand connections that wait may not hold ten thousand heads of the largest size.
REMEMBERED_BYTES = 2 * 1024
_MAX_DIGITS = len(str(LENGTH_LIMIT_BYTES)) - 1


class RepeatedHead:
    """The latest head of a connection, with what was read in it and what the gateway has concluded from it."""

    __slots__ = ("_after", "_before", "_digits", "_place", "head", "head_cache")

    def __init__(self, raw: bytes, head: RequestHead, line: int) -> None:
        self.head = head
        self.head_cache = HeadCache()
        self._place = [name for name, _ in head.headers].index(_NAME)
        self._digits = digits = head.headers[self._place][1]
        start = raw.index(digits, line + len(_LINE_BEGINS))
        self._before = raw[:start]
        self._after = raw[start + len(digits) :]

    @classmethod
    def of(cls, raw: bytes, head: RequestHead, limits: HeadLimits) -> Self | None:
        """Remember `head`, parsed from `raw`; None where that is not worth it, or could be wrong.

        A query may hold a key, and changes with each request where there is one.
        """
        if head.query or head.expect_continue or not head.keep_alive:
            return None
        if len(raw) + _MAX_DIGITS > min(REMEMBERED_BYTES, limits.field_bytes, limits.block_bytes):
            return None  # A large one, or one that other digits could make too large.
        # In a head that was accepted a line break ends a line, and one line at most has this name.
        line = raw.lower().find(_LINE_BEGINS)
        return None if line < 0 else cls(raw, head, line)

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

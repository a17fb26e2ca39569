"""A head that is sent again: clients repeat theirs on a connection byte for byte, save the digits of its length.

Before many clients stands something that shares its connections among them; then the token of a credential is another
one as well. The law of this module: a head is recognised only if nothing but those digits, and a token of the same
length, differ from one that was parsed, and if they could not change the verdict. So what is said of it is what parsing
it again would say.
"""

import re
import string
from typing import Self

from proxyd.messages import HeadCache
from proxyd.wire.http1.request import LENGTH_LIMIT_BYTES, HeadLimits, RequestHead

_NAME = b"content-length"
_LINE_BEGINS = b"\r\n" + _NAME + b":"
# SDKs send less. Ten thousand connections that wait may not hold ten thousand heads of the largest size.
REMEMBERED_BYTES = 2 * 1024
_MAX_DIGITS = len(str(LENGTH_LIMIT_BYTES)) - 1
_CREDENTIALS = frozenset((b"authorization", b"x-api-key", b"x-goog-api-key"))
_CREDENTIAL = re.compile(rb"(?:bearer +)?([A-Za-z0-9_-]{32,})", re.IGNORECASE)  # shorter ones may be words
_OF_TOKENS = (string.ascii_letters + string.digits + "_-").encode()


class RepeatedHead:
    """The latest head of a connection, with what was read in it and what the gateway has concluded from it."""

    __slots__ = (
        "_after", "_before", "_credential", "_digits", "_lead", "_place", "_rest", "_token_at", "_token_size", "head",
        "head_cache",
    )  # fmt: skip

    def __init__(self, raw: bytes, head: RequestHead, line: int) -> None:
        self.head = head
        self.head_cache = HeadCache()
        self._place = [name for name, _ in head.headers].index(_NAME)
        self._digits = digits = head.headers[self._place][1]
        start = raw.index(digits, line + len(_LINE_BEGINS))
        self._before = raw[:start]
        self._after = raw[start + len(digits) :]
        self._credential = self._token_at = self._token_size = 0
        self._lead = self._rest = b""  # what stands around the token in the one of the two that holds it
        self._find_token(raw, start)

    def _find_token(self, raw: bytes, start: int) -> None:
        """Where the token stands, in which header and in `raw`: from its beginning or, if behind `start`, its end."""
        places = [place for place, (name, _) in enumerate(self.head.headers) if name in _CREDENTIALS]
        if len(places) != 1:
            return
        found = _CREDENTIAL.fullmatch(self.head.headers[places[0]][1])
        if found is None or raw.count(token := found[1]) != 1:
            return
        at, size = raw.index(token), len(token)
        self._credential, self._token_size = places[0], size
        if at < start:
            self._token_at, self._lead, self._rest = at, self._before[:at], self._before[at + size :]
        else:
            self._token_at = at - len(raw)
            inside = self._token_at + len(self._after)
            self._lead, self._rest = self._after[:inside], self._after[inside + size :]

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
        """Tell whether `raw` is this head again; `head` then has its length, and its token."""
        before, after = self._before, self._after
        digits = raw[len(before) : -len(after)]
        if not digits.isdigit() or len(digits) > _MAX_DIGITS:
            return False
        if not (raw.startswith(before) and raw.endswith(after)) and not self._takes_token(raw):
            return False
        if digits != self._digits:
            head = self.head
            self._put(self._place, digits)
            head.length = int(digits)
            self._digits = digits
        return True

    def _takes_token(self, raw: bytes) -> bool:
        """Whether it is this head with another token, which it then has; what followed from the other one goes."""
        size, at, lead, rest = self._token_size, self._token_at, self._lead, self._rest
        start = at if at >= 0 else len(raw) + at
        token = raw[start : start + size]
        if not size or token.translate(None, _OF_TOKENS) or not raw.startswith(lead, start - len(lead)):
            return False
        if at >= 0:
            if not (raw.startswith(rest, start + size) and raw.endswith(self._after)):
                return False
            self._before = raw[: len(self._before)]
        else:
            if not (raw.startswith(self._before) and raw.endswith(rest)):
                return False
            self._after = raw[-len(self._after) :]
        self._put(self._credential, self.head.headers[self._credential][1][:-size] + token)
        if (info := self.head_cache.info) is not None:
            info.forget_key()
        return True

    def _put(self, place: int, value: bytes) -> None:
        headers = self.head.headers
        self.head.headers = (*headers[:place], (headers[place][0], value), *headers[place + 1 :])

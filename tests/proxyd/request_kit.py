"""Requests for what looks at no more than their heads."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass
class Untouched:
    """A client and a body that nobody may ask for anything but the address."""

    peer: str = "10.0.0.1"
    gone: bool = False
    length: int | None = 0

    def on_gone(self, callback: object) -> None:
        raise AssertionError

    def read(self, limit_bytes: int) -> bytes:
        raise AssertionError

    def chunks(self, limit_bytes: int) -> Iterator[bytes]:
        raise AssertionError

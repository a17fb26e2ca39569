"""What leaves together, at the end of a turn of the event loop: one send right after the other.

Each send wakes its receiver, which on a machine with other work costs more than the send itself. Who is woken for the
first of many finds the others there too, and what it asks for next comes together as well.
"""

from gevent import get_hub

from proxyd.channel import Channel
from proxyd.hub import call_each


class Outbox:
    """The sends of a turn, in the order in which they were added."""

    def __init__(self) -> None:
        self._loop = get_hub().loop
        self._senders: list[tuple[Channel, float]] = []

    def add(self, channel: Channel, data: bytes, stall_seconds: float) -> None:
        """Let `data` leave at the end of this turn. Returns at once; see `Channel.send_now` for what fails then."""
        channel.hold_back(data)
        if not self._senders:
            self._loop.run_callback(self._send)
        self._senders.append((channel, stall_seconds))

    def _send(self) -> None:
        senders, self._senders = self._senders, []
        call_each(_send_now, senders)


def _send_now(sender: tuple[Channel, float]) -> None:
    channel, stall_seconds = sender
    channel.send_now(stall_seconds)

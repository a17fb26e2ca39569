"""What is looked at now and then for all sessions of a worker: keys and credentials, their peers, their time."""

from time import monotonic
from typing import Protocol

import gevent

from proxyd.gateway.rejection import Rejection
from proxyd.websocket.turns import Turns
from shared.policy import Address, Reason

TICK_SECONDS = 0.4  # with what it takes to close, a session ends within a second of its key
# What ends a session; that the key cannot be looked up does not, as each turn asks for itself.
CUTS = frozenset(
    {Reason.INVALID_PROXY_KEY, Reason.KEY_REVOKED, Reason.KEY_EXPIRED, Reason.KEY_PAUSED, Reason.IP_BLOCKED}
)


class Watched(Protocol):
    """What is needed of a session."""

    turns: Turns

    def tick(self, now: float) -> None: ...
    def refuse(self, rejection: Rejection) -> None: ...
    def lose_credential(self) -> None: ...


_Place = tuple[str, Address | None]  # a key and an address: all sessions of one are judged alike


class SessionWatch:
    """For one worker. Its greenlet lives as long as there are sessions."""

    def __init__(self) -> None:
        self._sessions: set[Watched] = set()
        self._running = False
        self._asking: set[_Place] = set()

    def add(self, session: Watched) -> None:
        """Look after a session."""
        self._sessions.add(session)
        if not self._running:
            self._running = True
            gevent.spawn(self._run)

    def remove(self, session: Watched) -> None:
        """It is over."""
        self._sessions.discard(session)

    def _run(self) -> None:
        try:
            while self._sessions:
                gevent.sleep(TICK_SECONDS)
                now = monotonic()
                places: dict[_Place, list[Watched]] = {}
                for session in tuple(self._sessions):
                    session.tick(now)
                    asked = session.turns.session
                    places.setdefault((asked.digest, asked.client_ip), []).append(session)
                for place, sessions in places.items():
                    if place not in self._asking:
                        self._asking.add(place)
                        gevent.spawn(self._ask, place, sessions)
        finally:
            self._running = False

    def _ask(self, place: _Place, sessions: list[Watched]) -> None:
        """Ask for a key once, for all its sessions; a database that hangs keeps nobody else waiting."""
        try:
            found = sessions[0].turns.current()
            if isinstance(found, Rejection) and found.deny.reason in CUTS:
                for session in sessions:
                    session.refuse(found)
            elif not isinstance(found, Rejection):
                for session in sessions:
                    if (refused := session.turns.renew(found)) is not None:
                        session.refuse(refused)
                    elif not session.turns.is_open_to(found):
                        session.lose_credential()
        finally:
            self._asking.discard(place)

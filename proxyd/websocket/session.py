"""One WebSocket through the router, from its handshakes to its end.

Two greenlets pass messages on, one in each direction, and wait where the other side is slow: so a slow reader slows
down whoever writes, not our memory. A client's message is judged whole before anything of it leaves; of a provider's,
all but the last frame goes on at once, and the last when the message has been metered: whoever sees that a turn has
ended finds it settled. The session ends when either side does, when its key may no longer be used, or when its next
turn does not fit; then both sides are told why, and what is open is settled, once.
"""

import logging
from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import gevent
from gevent.event import Event

from proxyd.bodies.memory import BodyMemory, Claim
from proxyd.gateway.body_reader import JUDGED_BYTES, ROOM_SECONDS
from proxyd.gateway.masking import masked
from proxyd.gateway.metered_attempt import MeteredAttempt
from proxyd.gateway.payload import MAX_JSON_BYTES
from proxyd.gateway.rejection import Rejection, provider_failed, rejected
from proxyd.messages import Tunnel
from proxyd.upstream.dial import UpstreamConnection
from proxyd.websocket.conversation import Conversation, Ends
from proxyd.websocket.link import Link, LinkBroken
from proxyd.websocket.turns import Turns
from proxyd.websocket.watch import SessionWatch
from proxyd.wire.websocket import Piece, WebSocket
from shared.policy import Reason

log = logging.getLogger(__name__)

CLIENT_RECEIVE_BYTES = 16 * 1024  # so few, because tiny frames cost more time than bytes
PROVIDER_RECEIVE_BYTES = 64 * 1024
MAX_PROVIDER_BYTES = 64 * 1024 * 1024  # of a message
IDLE_SECONDS = 900.0  # without a message in either direction
CLOSE_SECONDS = 1.0  # for the other side to say goodbye, and for the last figures of what was cut off
WRITE_SECONDS = 0.5  # for a goodbye to leave
KILL_SECONDS = 2.0

NORMAL, GOING_AWAY, INTERNAL, POLICY, RESTART, TRY_LATER, BAD_GATEWAY = 1000, 1001, 1011, 1008, 1012, 1013, 1014


class End(NamedTuple):
    """Why a session is over, and what each side is told."""

    outcome: str  # of what is open
    code: int
    reason: str
    message: bytes | None = None  # for the client, before it is closed
    provider_code: int = NORMAL
    polite: bool = False  # whoever ended it said so


class _TooSlow(Exception):
    """A goodbye that does not leave."""


class _Message:
    """A message that comes in frames."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: Piece) -> bytes | None:
        """The whole message, with its last frame."""
        if piece.final and not self._pieces:
            return piece.data
        self._pieces.append(piece.data)
        self.size += len(piece.data)
        if not piece.final:
            return None
        whole = b"".join(self._pieces)
        self._pieces, self.size = [], 0
        return whole


class Session:
    """Implements `messages.Takeover`."""

    def __init__(
        self,
        upstream: UpstreamConnection,
        first: bytes,
        attempt: MeteredAttempt,
        turns: Turns,
        conversation: Conversation,
        memory: BodyMemory,
        watch: SessionWatch,
    ) -> None:
        """`attempt` is the session's own row; `first` what the provider has sent behind its handshake already."""
        self._upstream = upstream
        socket = WebSocket(server=False, max_message_bytes=MAX_PROVIDER_BYTES)
        self._provider = Link(upstream, socket, first, PROVIDER_RECEIVE_BYTES)
        self._client: Link
        self._attempt = attempt
        self._conversation = conversation
        self._watch = watch
        self._secrets = attempt.admission.secrets
        key = turns.session.key
        self._claim: Claim = memory.claim("" if key is None else key.id)
        self._ending: tuple[Rejection, bool] | None = None  # why it will end, and whether the client knows
        self._end: End | None = None
        self._over = Event()
        self._between = Event()  # no message of the provider's is half way to the client
        self._between.set()
        self._active_at = monotonic()
        self._draining: Callable[[], bool] = lambda: False
        self.turns = turns

    # Its life

    def run(self, tunnel: Tunnel) -> None:
        """Pass messages on until it is over."""
        socket = WebSocket(server=True, max_message_bytes=MAX_JSON_BYTES)
        self._client = Link(tunnel, socket, tunnel.take_buffer(), CLIENT_RECEIVE_BYTES)
        self._draining = lambda: tunnel.draining
        self._watch.add(self)
        pumps = [gevent.spawn(self._pump, pump) for pump in (self._from_client, self._from_provider)]
        try:
            self._over.wait()
            self._say_goodbye()
            gevent.joinall(pumps, timeout=CLOSE_SECONDS)
        finally:
            self._watch.remove(self)
            gevent.killall(pumps, block=True, timeout=KILL_SECONDS)
            self.abandon()

    def abandon(self) -> None:
        """Settle what is open, and let go of the provider. Idempotent."""
        end = self._end or End("client_gone", GOING_AWAY, "")
        try:
            self._conversation.end(end.outcome)
        finally:
            self._attempt.end("ok" if end.polite else end.outcome)
            self._claim.release()
            self._upstream.close()

    def refuse(self, rejection: Rejection) -> None:
        """End it now, whatever runs: its key may no longer be used."""
        self._finish(self._ended_by(rejection, told=False))

    def lose_credential(self) -> None:
        """End it now, whatever runs: the provider's credential that it was opened with is not used any more."""
        reason = "the provider's credential was removed or replaced: connect again"
        self._finish(End("client_gone", RESTART, reason, None, GOING_AWAY, polite=True))

    def tick(self, now: float) -> None:
        """Look whether both sides are there, and whether there is still something to do. Called now and then."""
        if self._end is not None:
            return
        if self._client.is_dead(now):
            self._finish(End("client_gone", GOING_AWAY, "nothing was heard of the client", None, GOING_AWAY))
        elif self._provider.is_dead(now):
            self._finish(self._broken("it has fallen silent"))
        elif now - self._active_at > IDLE_SECONDS:
            self._finish(End("client_gone", GOING_AWAY, "no message for fifteen minutes", polite=True))
        elif self._draining() and not self._conversation.running:
            self._finish(End("client_gone", RESTART, "this router is about to restart: connect again", polite=True))
        for link in (self._client, self._provider):
            if self._end is None and link.wants_ping(now):
                gevent.spawn(self._pump, link.ping)

    # Passing on

    def _pump(self, pump: Callable[[], None]) -> None:
        """Run one of the greenlets of a session. An edge: what fails in it must end the session, and be said."""
        try:
            pump()
        except LinkBroken as error:
            if error.link is self._provider:
                self._finish(self._broken("the connection broke"))
            else:
                self._client_left()
        except Exception:
            log.exception("a session failed")
            message = self._conversation.error(rejected(Reason.INTERNAL_ERROR))
            self._finish(End("client_gone", INTERNAL, Reason.INTERNAL_ERROR.value, message, GOING_AWAY))

    def _from_client(self) -> None:
        message = _Message()
        while (pieces := self._client.pieces()) is not None:
            if self._end is not None:
                continue  # until it has said goodbye
            for piece in pieces:
                whole = message.add(piece)
                if whole is not None and self._end is None:
                    self._judge(whole, text=piece.text)
            self._make_room(message.size + self._client.waiting_bytes)
        closed = self._client.closed
        code, reason = (GOING_AWAY, "") if closed is None else closed
        self._finish(End("client_gone", code, reason, None, code, polite=closed is not None))

    def _judge(self, data: bytes, *, text: bool) -> None:
        self._active_at = monotonic()
        verdict = self._conversation.from_client(data)
        if verdict.forward is not None:
            if verdict.turn is not None:
                verdict.turn.sent = True
            sent = self._provider.send(Piece(verdict.forward, text, True, True))
            if verdict.turn is not None and not sent:
                verdict.turn.sent = False
        self._claim.release()
        if verdict.answer is not None:
            self._tell(verdict.answer)
        if verdict.ends is not None:
            self._end_with(verdict.ends, told=verdict.answer is not None)

    def _tell(self, message: bytes) -> None:
        """Tell the client something of our own: between two messages, as frames of two must not mix (RFC 6455, 5.4)."""
        while not self._between.is_set():
            self._between.wait()
        self._client.send(Piece(message, True, True, True))

    def _make_room(self, size: int) -> None:
        """Wait until so much of a message that is not complete may be kept."""
        if size > JUDGED_BYTES and not self._claim.grow(min(2 * size, MAX_JSON_BYTES), ROOM_SECONDS):
            self.refuse(rejected(Reason.ROUTER_BUSY, detail="too many large messages are on their way"))

    def _from_provider(self) -> None:
        message = _Message()
        while (pieces := self._provider.pieces()) is not None:
            for piece in pieces:
                self._pass_on(piece, message)
        closed = self._provider.closed
        if closed is None:
            self._finish(self._broken("the connection broke"))
        else:
            code, reason = closed
            reason = masked(reason.encode(), self._secrets).decode()
            self._finish(End("upstream_truncated", code, reason, None, code, polite=True))

    def _pass_on(self, piece: Piece, message: _Message) -> None:
        self._active_at = monotonic()
        whole = message.add(piece)
        ends: Ends | None = None
        if whole is not None:
            ends = self._conversation.from_server(whole)
        if (shown := masked(piece.data, self._secrets)) is not piece.data:
            piece = piece._replace(data=shown)
        if piece.final:
            self._between.set()  # whoever waits for it has a turn only after this frame was put in line
        else:
            self._between.clear()
        self._client.send(piece)
        if ends is not None:
            self._end_with(ends, told=False)
        elif self._ending is not None and not self._conversation.running:
            self._finish(self._ended_by(*self._ending))

    # Its end

    def _client_left(self) -> None:
        """The client is gone without a goodbye."""
        self._finish(End("client_gone", GOING_AWAY, "", None, GOING_AWAY))

    def _end_with(self, ends: Ends, *, told: bool) -> None:
        if ends.at_once or not self._conversation.running:
            self._finish(self._ended_by(ends.why, told))
        elif self._ending is None:
            self._ending = ends.why, told

    def _finish(self, end: End) -> None:
        if self._end is None:
            self._end = end
            self._over.set()

    def _ended_by(self, rejection: Rejection, told: bool) -> End:  # noqa: FBT001 - it is kept beside the rejection
        reason = rejection.deny.reason
        message = None if told else self._conversation.error(rejection)
        code = TRY_LATER if rejection.deny.retry else POLICY
        return End("client_gone", code, reason.value, message, polite=True)

    def _broken(self, how: str) -> End:
        rejection = provider_failed(self._attempt.context.target.provider, Reason.PROVIDER_UNREACHABLE, how)
        message = self._conversation.error(rejection)
        return End("upstream_truncated", BAD_GATEWAY, Reason.PROVIDER_UNREACHABLE.value, message)

    def _say_goodbye(self) -> None:
        end = self._end
        if end is None:
            return
        self._briefly(lambda: self._provider.close(end.provider_code, ""))
        if end.message is not None and self._between.is_set():
            self._briefly(lambda: self._client.send(Piece(end.message or b"", True, True, True)))
        self._briefly(lambda: self._client.close(end.code, end.reason))

    @staticmethod
    def _briefly(say: Callable[[], object]) -> None:
        """Say something to a side that may be gone, or may not listen."""
        try:
            with gevent.Timeout(WRITE_SECONDS, _TooSlow):
                say()
        except (LinkBroken, _TooSlow):
            pass
